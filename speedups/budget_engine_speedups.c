/* The two steps of a batch that cost a caller the most, compiled: making a Spend, and packing a call.
 *
 * The Python code is the reference, and keeps every rule and every error. A function here takes the usual case only:
 *   - a call of Spend that is anything else goes on to Spend's own __new__;
 *   - pack returns None for what is anything else, and its caller packs in Python.
 * Nothing here keeps state, and pack calls nothing that could run Python code, so its input cannot change under it.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

/* Raised with each change of what is below; engine/speedups.py has the same number. */
#define API 1

/* Spend of engine/client/spends.py: the first field must be given, the others are None. */
#define FIELDS 5
static const char *const FIELD_NAMES[FIELDS] = {"campaign_id", "amount", "event_id", "amount_micros", "occurred_at"};

/* --- Spend(...) --- */

/* Spend.__new__(Spend, ...), which Python made: it knows each default and each error. */
static PyObject *
made_in_python(PyObject *type, PyObject *const *args, Py_ssize_t given, PyObject *names)
{
    Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    PyObject *result = NULL;
    PyObject *made_by = PyObject_GetAttrString(type, "__new__");
    PyObject **all = made_by == NULL ? NULL : PyMem_New(PyObject *, given + named + 1);
    if (all != NULL) {
        all[0] = type;
        if (given + named > 0) {
            memcpy(all + 1, args, (size_t)(given + named) * sizeof(PyObject *));
        }
        result = PyObject_Vectorcall(made_by, all, (size_t)given + 1, names);
    }
    else if (made_by != NULL) {
        PyErr_NoMemory();
    }
    PyMem_Free(all);
    Py_XDECREF(made_by);
    return result;
}

/* The place of a field, or -1; a keyword of a type below str may compare itself in a way of its own. */
static int
field_of(PyObject *name)
{
    for (int i = 0; PyUnicode_CheckExact(name) && i < FIELDS; i++) {
        if (PyUnicode_CompareWithASCIIString(name, FIELD_NAMES[i]) == 0) {
            return i;
        }
    }
    return -1;
}

/* A tuple of a type below tuple. */
static PyObject *
tuple_of(PyTypeObject *type, PyObject *const *values)
{
#if PY_VERSION_HEX < 0x030E0000 && !defined(BY_TUPLE_NEW)
    PyObject *made = type->tp_alloc(type, FIELDS);
    if (made == NULL) {
        return NULL;
    }
    for (int i = 0; i < FIELDS; i++) {
        PyTuple_SET_ITEM(made, i, Py_NewRef(values[i]));
    }
#else
    /* A tuple of Python 3.14 has a field more, which tuple's own __new__ fills. */
    PyObject *plain = PyTuple_New(FIELDS);
    if (plain == NULL) {
        return NULL;
    }
    for (int i = 0; i < FIELDS; i++) {
        PyTuple_SET_ITEM(plain, i, Py_NewRef(values[i]));
    }
    PyObject *args = PyTuple_Pack(1, plain);
    PyObject *made = args == NULL ? NULL : PyTuple_Type.tp_new(type, args, NULL);
    Py_XDECREF(args);
    Py_DECREF(plain);
    if (made == NULL) {
        return NULL;
    }
#endif
    /* As Python does with plain tuples: what holds no container is in no circle, and the collector need not look. */
    for (int i = 0; i < FIELDS; i++) {
        if (PyType_IS_GC(Py_TYPE(values[i]))) {
            return made;
        }
    }
    PyObject_GC_UnTrack(made);
    return made;
}

static PyObject *
make_spend(PyObject *type, PyObject *const *args, size_t flagged, PyObject *names)
{
    Py_ssize_t given = PyVectorcall_NARGS(flagged);
    Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    PyObject *values[FIELDS] = {NULL};
    if (given > FIELDS) {
        return made_in_python(type, args, given, names);
    }
    for (Py_ssize_t i = 0; i < given; i++) {
        values[i] = args[i];
    }
    for (Py_ssize_t i = 0; i < named; i++) {
        int place = field_of(PyTuple_GET_ITEM(names, i));
        if (place < 0 || values[place] != NULL) {
            return made_in_python(type, args, given, names);
        }
        values[place] = args[given + i];
    }
    if (values[0] == NULL) {
        return made_in_python(type, args, given, names);
    }
    for (int i = 1; i < FIELDS; i++) {
        if (values[i] == NULL) {
            values[i] = Py_None;
        }
    }
    return tuple_of((PyTypeObject *)type, values);
}

PyDoc_STRVAR(quicken_doc, "quicken(Spend)\n--\n\n"
                          "Lets a call of Spend make the tuple at once. Its subclasses, and all else of it, stay as they are.\n"
                          "Raises TypeError for a class of other fields, defaults or kind.");

static PyObject *
quicken(PyObject *Py_UNUSED(module), PyObject *spend)
{
    PyTypeObject *type = (PyTypeObject *)spend;
    int fits = PyType_Check(spend) && PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) && type->tp_base == &PyTuple_Type
               && type->tp_basicsize == PyTuple_Type.tp_basicsize && type->tp_dictoffset == 0;
    PyObject *fields = fits ? PyObject_GetAttrString(spend, "_fields") : NULL;
    PyObject *defaults = fields != NULL ? PyObject_GetAttrString(spend, "_field_defaults") : NULL;
    fits = defaults != NULL && PyTuple_CheckExact(fields) && PyTuple_GET_SIZE(fields) == FIELDS && PyDict_CheckExact(defaults)
           && PyDict_GET_SIZE(defaults) == FIELDS - 1;
    for (int i = 0; fits && i < FIELDS; i++) {
        PyObject *name = PyTuple_GET_ITEM(fields, i);
        fits = field_of(name) == i
               && (i == 0 || PyDict_GetItemWithError(defaults, name) == Py_None);
    }
    Py_XDECREF(fields);
    Py_XDECREF(defaults);
    if (!fits) {
        PyErr_SetString(PyExc_TypeError, "this class is not the Spend that these speedups were written for");
        return NULL;
    }
    type->tp_vectorcall = make_spend;
    PyType_Modified(type);
    Py_RETURN_NONE;
}

/* --- pack(...) --- */

/* The most campaigns, because their place is a byte; and slots of a table in which to find them. */
#define CAMPAIGNS 255
#define SLOTS 512

typedef struct {
    int64_t id[SLOTS];
    int16_t place[SLOTS]; /* -1: free */
} Places;

static unsigned
slot_of(const Places *places, int64_t id)
{
    unsigned slot = (unsigned)(((uint64_t)id * 0x9E3779B97F4A7C15u) >> 55);
    while (places->place[slot] >= 0 && places->id[slot] != id) {
        slot = (slot + 1) % SLOTS;
    }
    return slot;
}

/* The columns that Python has checked: exactly a list or a tuple. */
static int
is_column(PyObject *given)
{
    return PyList_CheckExact(given) || PyTuple_CheckExact(given);
}

/* A whole number from 0 upwards in 63 bits, or -1. */
static int64_t
number_of(PyObject *given)
{
    int beyond = 0;
    int64_t number = PyLong_CheckExact(given) ? PyLong_AsLongLongAndOverflow(given, &beyond) : -1;
    return beyond || number < 0 ? -1 : number;
}

typedef struct {
    Py_ssize_t size;
    Py_ssize_t campaigns;
    int64_t ids[CAMPAIGNS];
    int64_t sums[CAMPAIGNS];
    int64_t counts[CAMPAIGNS];
    int wide;
    Places places;
} Batch;

/* Reads the columns into the batch, and the place and the micros of each spend. 0 for what Python must look at. */
static int
read_batch(Batch *batch, PyObject *ids, PyObject *campaigns, PyObject *micros, uint8_t *order, int64_t *amounts)
{
    memset(batch->places.place, 0xff, sizeof batch->places.place);
    batch->wide = 0;
    for (Py_ssize_t i = 0; i < batch->campaigns; i++) {
        int64_t id = number_of(PySequence_Fast_GET_ITEM(campaigns, i));
        unsigned slot = slot_of(&batch->places, id);
        if (id < 0 || batch->places.place[slot] >= 0) {
            return 0;
        }
        batch->places.id[slot] = id;
        batch->places.place[slot] = (int16_t)i;
        batch->ids[i] = id;
        batch->sums[i] = batch->counts[i] = 0;
    }
    for (Py_ssize_t i = 0; i < batch->size; i++) {
        int64_t amount = number_of(PySequence_Fast_GET_ITEM(micros, i));
        int place = batch->places.place[slot_of(&batch->places, number_of(PySequence_Fast_GET_ITEM(ids, i)))];
        if (amount < 0 || place < 0 || amount > INT64_MAX - batch->sums[place]) {
            return 0;
        }
        batch->sums[place] += amount;
        batch->counts[place] += 1;
        batch->wide |= amount > UINT32_MAX;
        order[i] = (uint8_t)place;
        amounts[i] = amount;
    }
    return 1;
}

/* `<campaign_id>,<micros>,<how many>;` of each campaign. */
static PyObject *
sums_of(const Batch *batch)
{
    char text[CAMPAIGNS * 64];
    size_t length = 0;
    for (Py_ssize_t i = 0; i < batch->campaigns; i++) {
        length += (size_t)PyOS_snprintf(text + length, 64, "%lld,%lld,%lld;", (long long)batch->ids[i],
                                        (long long)batch->sums[i], (long long)batch->counts[i]);
    }
    return PyUnicode_DecodeASCII(text, (Py_ssize_t)length, NULL);
}

/* Version, width of an amount, the places, and the amounts, little-endian. */
static PyObject *
log_of(const Batch *batch, uint8_t version, const uint8_t *order, const int64_t *amounts)
{
    Py_ssize_t width = batch->wide ? 8 : 4;
    PyObject *log = PyBytes_FromStringAndSize(NULL, 2 + batch->size * (1 + width));
    if (log == NULL) {
        return NULL;
    }
    uint8_t *at = (uint8_t *)PyBytes_AS_STRING(log);
    *at++ = version;
    *at++ = (uint8_t)width;
    memcpy(at, order, (size_t)batch->size);
    at += batch->size;
    for (Py_ssize_t i = 0; i < batch->size; i++) {
        for (int shift = 0; shift < 8 * width; shift += 8) {
            *at++ = (uint8_t)((uint64_t)amounts[i] >> shift);
        }
    }
    return log;
}

PyDoc_STRVAR(pack_doc, "pack(campaign_ids, campaigns, micros, version)\n--\n\n"
                       "What pack of engine/live/packed.py returns, or None where that must look itself.");

static PyObject *
pack(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    if (given != 4 || !is_column(args[0]) || !is_column(args[1]) || !is_column(args[2])) {
        Py_RETURN_NONE;
    }
    Batch batch = {.size = PySequence_Fast_GET_SIZE(args[0]), .campaigns = PySequence_Fast_GET_SIZE(args[1])};
    int64_t version = number_of(args[3]);
    if (batch.campaigns < 1 || batch.campaigns > CAMPAIGNS || PySequence_Fast_GET_SIZE(args[2]) != batch.size || version < 0
        || version > UINT8_MAX) {
        Py_RETURN_NONE;
    }
    int64_t *amounts = PyMem_New(int64_t, batch.size + 1);
    uint8_t *order = PyMem_New(uint8_t, batch.size + 1);
    PyObject *result = NULL;
    if (amounts == NULL || order == NULL) {
        PyErr_NoMemory();
    }
    else if (!read_batch(&batch, args[0], args[1], args[2], order, amounts)) {
        result = Py_NewRef(Py_None);
    }
    else {
        PyObject *sums = sums_of(&batch);
        PyObject *log = sums == NULL ? NULL : log_of(&batch, (uint8_t)version, order, amounts);
        result = log == NULL ? NULL : PyTuple_Pack(2, sums, log);
        Py_XDECREF(sums);
        Py_XDECREF(log);
    }
    PyMem_Free(amounts);
    PyMem_Free(order);
    return result;
}

/* --- the module --- */

static PyMethodDef METHODS[] = {
    {"quicken", quicken, METH_O, quicken_doc},
    {"pack", (PyCFunction)(void (*)(void))pack, METH_FASTCALL, pack_doc},
    {NULL, NULL, 0, NULL},
};

static int
fill(PyObject *module)
{
    return PyModule_AddIntConstant(module, "API", API);
}

static PyModuleDef_Slot SLOTS_OF_MODULE[] = {
    {Py_mod_exec, (void *)fill},
    {0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT,
    .m_name = "budget_engine_speedups",
    .m_doc = "Compiled steps of budget-engine's client; used by engine/speedups.py alone.",
    .m_methods = METHODS,
    .m_slots = SLOTS_OF_MODULE,
};

PyMODINIT_FUNC
PyInit_budget_engine_speedups(void)
{
    return PyModuleDef_Init(&MODULE);
}

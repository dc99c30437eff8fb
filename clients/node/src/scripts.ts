/** The Lua scripts of the package, as `budget-engine scripts export` wrote them when it was built. */

import { readFileSync } from "node:fs";
import { BudgetError } from "./errors.js";

/** The layout of calls that this client speaks. */
export const LAYOUT = "1";

export type ScriptName =
  | "record_spends"
  | "try_spends"
  | "holds"
  | "refund"
  | "read_plan"
  | "read_registry"
  | "read_watched";

export interface Script {
  readonly name: string;
  readonly sha1: string;
  readonly text: string;
}

interface Manifest {
  readonly layout: string;
  readonly scripts: Readonly<Record<string, { readonly file: string; readonly sha1: string }>>;
}

const FOLDER = new URL("../scripts/", import.meta.url);
const READ = new Map<string, Script>();
let manifest: Manifest | undefined;

/** A script, read from the package once. Throws BudgetError where the package was built without it. */
export function script(name: ScriptName): Script {
  let found = READ.get(name);
  if (found === undefined) {
    try {
      manifest ??= JSON.parse(readFileSync(new URL("manifest.json", FOLDER), "utf8")) as Manifest;
      const entry = manifest.scripts[name];
      found = { name, sha1: entry.sha1, text: readFileSync(new URL(entry.file, FOLDER), "utf8") };
    } catch {
      throw new BudgetError(`the package has no script ${name}: build it again, with \`make node\``);
    }
    if (manifest.layout !== LAYOUT) {
      throw new BudgetError(`the package's scripts have layout ${manifest.layout}, this client speaks ${LAYOUT}`);
    }
    READ.set(name, found);
  }
  return found;
}

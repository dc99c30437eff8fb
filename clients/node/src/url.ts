/** The URL of Redis: one server, a cluster or Sentinels, in the forms that the engine's settings take. */

import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import { InvalidSetting } from "./errors.js";

export interface Place {
  readonly host: string;
  readonly port: number;
}

/** What a URL names. `hosts`: the server, nodes of the cluster, or the Sentinels. `master`: the primary's name there. */
export interface Places {
  readonly kind: "one" | "cluster" | "sentinel";
  readonly hosts: readonly Place[];
  readonly master: string;
  readonly path: string | undefined;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly db: number;
  readonly tls: ConnectionOptions | undefined;
  readonly sentinelUsername: string | undefined;
  readonly sentinelPassword: string | undefined;
}

const FORM = /^(rediss?)(\+cluster|\+sentinel)?:\/\/(?:([^@/?#]*)@)?([^@/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/;
const SOCKET = /^unix:\/\/(?:([^@/?#]*)@)?(\/[^?#@]+)(?:\?([^#]*))?$/;
const HOST = /^(\[[^\]]+\]|[^:[\]]*)(?::(\d{1,5}))?$/;
const EXAMPLE =
  "write it like redis://:password@host:6379/0, redis+cluster://host:6379,host:6379 or" +
  " redis+sentinel://host:26379/master-name/0, with %40 for @, %2F for /, %3F for ? and %23 for # in a password";
/** Parameters of redis-py about its own buffers and time-outs; the client has options of its own for these. */
const PASSED_OVER = new Set([
  "socket_timeout",
  "socket_connect_timeout",
  "socket_read_size",
  "socket_keepalive",
  "retry_on_timeout",
  "health_check_interval",
  "max_connections",
  "client_name",
  "lib_name",
  "lib_version",
  "protocol",
  "ssl_check_hostname",
]);

/** Reads a URL. Throws InvalidSetting, which shows no part of a password. */
export function placesOf(url: string): Places {
  const socket = SOCKET.exec(url);
  const found = socket === null ? FORM.exec(url) : null;
  if (socket !== null) {
    const parameters = parametersOf(socket[3], "");
    return { ...loginOf(socket[1], parameters), kind: "one", hosts: [], master: "", path: socket[2], tls: undefined };
  }
  if (found === null) {
    throw wrong("cannot be read");
  }
  const [, scheme, form, login, authority, rawPath, query] = found;
  const kind = form === "+cluster" ? "cluster" : form === "+sentinel" ? "sentinel" : "one";
  const hosts = authority.split(",").map((text) => placeOf(text, kind === "sentinel" ? 26379 : 6379));
  if (kind === "one" && hosts.length > 1) {
    throw wrong("names several servers: redis+cluster:// is a cluster, redis+sentinel:// are Sentinels");
  }
  let path = decoded(rawPath ?? "").replace(/^\//, "");
  let master = "";
  if (kind === "sentinel") {
    const slash = path.indexOf("/");
    master = slash < 0 ? path : path.slice(0, slash);
    path = slash < 0 ? "" : path.slice(slash + 1);
    if (!/^[A-Za-z0-9._-]{1,128}$/.test(master)) {
      throw wrong("names no master");
    }
  }
  const parameters = parametersOf(query, scheme);
  const db = path.replace(/\/$/, "") || parameters.get("db") || "0";
  if (!/^\d{1,9}$/.test(db) || (kind === "cluster" && Number(db) !== 0)) {
    throw wrong(
      kind === "cluster" ? "names a database, and a cluster has only 0" : "names a database that is no number",
    );
  }
  return {
    ...loginOf(login, parameters),
    kind,
    hosts,
    master,
    path: undefined,
    db: Number(db),
    tls: scheme === "rediss" ? tlsOf(parameters) : undefined,
  };
}

/** What a URL names, as messages show it: without login and parameters. */
export function whereOf(places: Places): string {
  const hosts = places.hosts.map(({ host, port }) => `${host.includes(":") ? `[${host}]` : host}:${port}`).join(",");
  return places.kind === "one" ? (places.path ?? hosts) : `${places.kind} ${hosts}`;
}

function wrong(what: string): InvalidSetting {
  return new InvalidSetting(`REDIS_URL ${what}: ${EXAMPLE}`, "REDIS_URL");
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw wrong("has escapes that are no UTF-8 text");
  }
}

function placeOf(text: string, port: number): Place {
  const found = HOST.exec(text);
  const given = found?.[2] === undefined ? port : Number(found[2]);
  if (found === null || given < 1 || given > 65535) {
    throw wrong("has a port that is not a number from 1 to 65535");
  }
  return { host: decoded(found[1].replace(/^\[|\]$/g, "")) || "localhost", port: given };
}

function parametersOf(query: string | undefined, scheme: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const part of (query ?? "").split("&").filter((text) => text !== "")) {
    const equals = part.indexOf("=");
    const name = decoded(equals < 0 ? part : part.slice(0, equals));
    const known =
      ["db", "username", "password", "sentinel_username", "sentinel_password"].includes(name) ||
      PASSED_OVER.has(name) ||
      (scheme === "rediss" && ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs"].includes(name));
    if (!known) {
      throw wrong("has a parameter that this client does not know");
    }
    found.set(name, decoded(equals < 0 ? "" : part.slice(equals + 1)));
  }
  return found;
}

type Login = Pick<Places, "username" | "password" | "sentinelUsername" | "sentinelPassword" | "db">;

function loginOf(login: string | undefined, parameters: ReadonlyMap<string, string>): Login {
  const colon = login?.indexOf(":") ?? -1;
  const user = login === undefined ? undefined : decoded(colon < 0 ? login : login.slice(0, colon));
  const password = login === undefined || colon < 0 ? undefined : decoded(login.slice(colon + 1));
  return {
    username: user || parameters.get("username") || undefined,
    password: password || parameters.get("password") || undefined,
    sentinelUsername: parameters.get("sentinel_username") || undefined,
    sentinelPassword: parameters.get("sentinel_password") || undefined,
    db: Number(parameters.get("db") ?? 0),
  };
}

function tlsOf(parameters: ReadonlyMap<string, string>): ConnectionOptions {
  const file = (name: string): Buffer | undefined => {
    const path = parameters.get(name);
    try {
      return path === undefined ? undefined : readFileSync(path);
    } catch {
      throw wrong(`has a file in ${name} that cannot be read`);
    }
  };
  const options: ConnectionOptions = { rejectUnauthorized: parameters.get("ssl_cert_reqs") !== "none" };
  const ca = file("ssl_ca_certs");
  const cert = file("ssl_certfile");
  const key = file("ssl_keyfile");
  return { ...options, ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

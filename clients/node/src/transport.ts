/** Script calls over ioredis, each within a deadline: sent again until a reply came, which is safe by its request id. */

import { Cluster, type ClusterOptions, Redis, type RedisOptions } from "ioredis";
import { BudgetError, WrongVersion } from "./errors.js";
import { slotOf } from "./keys.js";
import type { Reply } from "./replies.js";
import type { Script } from "./scripts.js";
import { type Places, whereOf } from "./url.js";

export type Arg = string | Buffer;

/** One script call. All its keys are of one shard. */
export interface Call {
  readonly script: Script;
  readonly keys: readonly string[];
  readonly args: readonly Arg[];
}

/** The deadline passed without a reply, or no repeat would get one. `unreadable`: what came is none of a script's. */
export class NoAnswer extends Error {
  constructor(
    readonly why: string,
    readonly unreadable = false,
  ) {
    super(why);
  }
}

/** Whatever sends calls. */
export interface Transport {
  readonly where: string;
  /** The reply, within so many milliseconds. Rejects with NoAnswer, WrongVersion or BudgetError. */
  call(call: Call, timeoutMs: number): Promise<Reply>;
  /** Waits until there is a connection. Rejects with NoAnswer. */
  ready(timeoutMs: number): Promise<void>;
  /** The server that has a key, as far as is known; behind Sentinel the connection to it, so that no change is missed. */
  home(key: string): string;
  /** A connection for subscribing only, to any server that hears all messages. */
  subscriber(): Redis;
  /** Closes the connections, after what is to be done first. */
  close(): void | Promise<void>;
}

const PAUSE_MS = 2;
const LONGEST_PAUSE_MS = 50;
const CONNECT_MS = 1000;
/** A connection on which a call waits and nothing arrives for so long is closed, and its calls are sent again. */
const SILENT_MS = 1000;
/** Errors that do not depend on the call: nothing was written, and a repeat may succeed. */
const PASSES = new Set([
  "BUSY",
  "LOADING",
  "MASTERDOWN",
  "NOREPLICAS",
  "MISCONF",
  "TRYAGAIN",
  "CLUSTERDOWN",
  "READONLY",
]);
/** Of these, those after which this connection never reaches the primary. */
const LEAVE = new Set(["READONLY", "MASTERDOWN", "LOADING"]);
const LOGIN = /^(WRONGPASS|NOAUTH|ERR invalid password|ERR AUTH)/;

/** Connections for what a URL names. Nothing is connected before the first call. */
export function openTransport(places: Places): IoTransport {
  return new IoTransport(places);
}

class IoTransport implements Transport {
  readonly where: string;
  readonly #redis: Redis | Cluster;
  readonly #loading = new Map<string, Promise<unknown>>();
  #waiting: (() => void)[] = [];
  #trouble = "no connection was made in time";
  #refusesLogin = false;
  /** How many replies came, of all calls. */
  #replies = 0;
  /** The present connection: its server, and how many there were. */
  #connection = "";
  #connections = 0;
  #closed = false;

  constructor(private readonly places: Places) {
    this.where = whereOf(places);
    this.#redis = places.kind === "cluster" ? this.#cluster() : new Redis(optionsOf(places));
    const redis = this.#redis;
    redis.on("error", (error: Error & { lastNodeError?: Error }) => {
      this.#note(error.lastNodeError ?? error);
    });
    redis.on("connect", () => {
      if (redis instanceof Redis) {
        const { remoteAddress, remotePort } = redis.stream ?? {};
        this.#connections += 1;
        this.#connection = `${remoteAddress}:${remotePort} #${this.#connections}`;
      }
    });
    redis.on("ready", () => {
      this.#refusesLogin = false;
      this.#release();
      if (places.kind === "sentinel" && redis instanceof Redis) {
        // Sentinel may still name a primary that was demoted: such a server answers reads, with old figures.
        void redis.role().then(
          ([role]) => role !== "master" && redis.disconnect(true),
          () => undefined,
        );
      }
    });
  }

  call(call: Call, timeoutMs: number): Promise<Reply> {
    return new Promise<Reply>((resolve, reject) => {
      let over = false;
      let pause = PAUSE_MS;
      let why = "";
      let seen = -1;
      const end = (): void => {
        over = true;
        clearTimeout(timer);
      };
      const timer = setTimeout(() => {
        over = true;
        if (seen === this.#replies && this.#redis instanceof Redis) {
          // Sent, and nothing arrived since: what comes later on this connection belongs to nobody.
          this.#redis.disconnect(true);
        }
        reject(new NoAnswer(why || `Redis at ${this.where} did not answer within ${timeoutMs} ms: ${this.#trouble}`));
      }, timeoutMs);
      const again = (): void => {
        setTimeout(attempt, pause);
        pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
      };
      const failed = (error: Error): void => {
        seen = -1;
        if (over) {
          return;
        }
        const verdict = this.#verdict(error, call);
        if (verdict instanceof Error) {
          end();
          reject(verdict);
        } else if (typeof verdict === "string") {
          why = verdict;
          again();
        } else {
          verdict.then(attempt, failed);
        }
      };
      const attempt = (): void => {
        if (over) {
          return;
        }
        if (this.#closed) {
          // A repeat would connect again, and keep the process.
          end();
          reject(new NoAnswer("the client is closed"));
          return;
        }
        if (this.#redis.status !== "ready") {
          if (this.#refusesLogin) {
            end();
            reject(new NoAnswer(`Redis at ${this.where} refuses the login: ${this.#trouble}`));
            return;
          }
          this.#connect();
          this.#waiting.push(attempt);
          return;
        }
        const { sha1 } = call.script;
        seen = this.#replies;
        this.#redis.call("EVALSHA", [sha1, call.keys.length, ...call.keys, ...call.args]).then((reply) => {
          this.#replies += 1;
          if (over) {
            return;
          }
          end();
          if (Array.isArray(reply) && reply.length > 0) {
            resolve(reply as Reply);
          } else {
            reject(new NoAnswer(`Redis at ${this.where} answered what no script does`, true));
          }
        }, failed);
      };
      attempt();
    });
  }

  ready(timeoutMs: number): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new NoAnswer(`Redis at ${this.where} does not answer: ${this.#trouble}`));
      }, timeoutMs);
      const look = (): void => {
        if (this.#redis.status === "ready") {
          clearTimeout(timer);
          resolve();
        } else {
          this.#connect();
          this.#waiting.push(look);
        }
      };
      look();
    });
  }

  home(key: string): string {
    if (this.#redis instanceof Redis) {
      return this.places.kind === "sentinel" ? this.#connection : this.where;
    }
    return this.#redis.slots[slotOf(key)]?.[0] ?? "";
  }

  subscriber(): Redis {
    const alone = { autoResubscribe: false, retryStrategy: () => null, enableOfflineQueue: true } as const;
    if (this.#redis instanceof Redis) {
      return this.#redis.duplicate({ ...alone, lazyConnect: true });
    }
    const nodes = this.#redis.nodes("master");
    const node = nodes[Math.floor(Math.random() * nodes.length)];
    const { host, port } = node?.options ?? this.places.hosts[0];
    return new Redis({
      ...nodeOptions(this.places),
      ...alone,
      lazyConnect: true,
      host: host ?? "",
      port: port ?? 6379,
    });
  }

  close(): void {
    this.#closed = true;
    this.#redis.disconnect();
    this.#release();
  }

  /** What an error means: an error for the caller, a reason to repeat after a pause, or a wait before the repeat. */
  #verdict(error: Error, call: Call): Error | string | Promise<unknown> {
    if (error.name !== "ReplyError") {
      this.#trouble = error.message;
      return `Redis at ${this.where} does not answer: ${error.message}`;
    }
    const text = error.message;
    const code = text.split(" ", 1)[0];
    if (code === "NOSCRIPT") {
      return this.#load(call.script);
    }
    if (PASSES.has(code) || text.startsWith("ERR READONLY")) {
      if (LEAVE.has(code) || text.startsWith("ERR READONLY")) {
        this.#leave();
      }
      return `Redis at ${this.where} takes no calls just now: ${text}`;
    }
    return translated(text, code, this.where);
  }

  /** Loads a script, once for all calls that miss it: on the one server, or on each node with slots. */
  #load(script: Script): Promise<unknown> {
    let loading = this.#loading.get(script.sha1);
    if (loading === undefined) {
      const nodes = this.#redis instanceof Redis ? [this.#redis] : this.#redis.nodes("master");
      loading = Promise.allSettled(nodes.map((node) => node.script("LOAD", script.text)))
        .then((loaded) => {
          const failed = loaded.find((each) => each.status === "rejected");
          if (failed !== undefined && loaded.every((each) => each.status === "rejected")) {
            throw failed.reason;
          }
        })
        .finally(() => this.#loading.delete(script.sha1));
      this.#loading.set(script.sha1, loading);
    }
    return loading;
  }

  /** The server is no primary now: another connection may reach the one that is. */
  #leave(): void {
    if (this.#redis instanceof Redis) {
      this.#redis.disconnect(true);
    } else {
      this.#redis.refreshSlotsCache();
    }
  }

  #connect(): void {
    const { status } = this.#redis;
    if (!this.#closed && (status === "wait" || status === "end")) {
      this.#redis.connect().catch((error: Error) => this.#note(error));
    }
  }

  #note(error: Error): void {
    this.#trouble = error.message;
    if (LOGIN.test(error.message)) {
      this.#refusesLogin = true;
      this.#release();
    }
  }

  #release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const attempt of waiting) {
      attempt();
    }
  }

  #cluster(): Cluster {
    const options: ClusterOptions = {
      lazyConnect: true,
      enableReadyCheck: false,
      slotsRefreshTimeout: CONNECT_MS,
      slotsRefreshInterval: 5000,
      retryDelayOnFailover: 20,
      retryDelayOnClusterDown: 20,
      retryDelayOnTryAgain: 20,
      clusterRetryStrategy: (times) => Math.min(10 * times, 200),
      redisOptions: nodeOptions(this.places),
    };
    return new Cluster(
      this.places.hosts.map(({ host, port }) => ({ host, port })),
      options,
    );
  }
}

/** What every connection has. INFO, which a bidder's login lacks, is not needed. */
function nodeOptions(places: Places): RedisOptions {
  return {
    protocol: 2,
    enableReadyCheck: false,
    autoResendUnfulfilledCommands: false,
    // A connection that closes fails its calls at once: with autoResend off alone they would never end.
    maxRetriesPerRequest: 0,
    connectTimeout: CONNECT_MS,
    socketTimeout: SILENT_MS,
    ...(places.username !== undefined && { username: places.username }),
    ...(places.password !== undefined && { password: places.password }),
    ...(places.tls !== undefined && { tls: places.tls }),
  };
}

function optionsOf(places: Places): RedisOptions {
  const common: RedisOptions = {
    ...nodeOptions(places),
    db: places.db,
    lazyConnect: true,
    enableOfflineQueue: false,
    retryStrategy: (times) => Math.min(5 * times, 100),
  };
  if (places.kind === "sentinel") {
    return {
      ...common,
      sentinels: places.hosts.map(({ host, port }) => ({ host, port })),
      name: places.master,
      role: "master",
      failoverDetector: true,
      sentinelCommandTimeout: CONNECT_MS,
      sentinelRetryStrategy: (times) => Math.min(20 * times, 500),
      enableTLSForSentinelMode: places.tls !== undefined,
      ...(places.tls !== undefined && { sentinelTLS: places.tls }),
      ...(places.sentinelUsername !== undefined && { sentinelUsername: places.sentinelUsername }),
      ...(places.sentinelPassword !== undefined && { sentinelPassword: places.sentinelPassword }),
    };
  }
  return places.path === undefined
    ? { ...common, host: places.hosts[0].host, port: places.hosts[0].port }
    : { ...common, path: places.path };
}

/** An error of Redis that no repeat mends. */
function translated(text: string, code: string, where: string): Error {
  if (code === "OOM") {
    return new NoAnswer(
      `Redis at ${where} is full and takes no writes: give it more memory or drain the journal (${text})`,
    );
  }
  if (code === "MOVED" || code === "ASK") {
    return new NoAnswer(`Redis at ${where}: this is a cluster: use redis+cluster://${where}`);
  }
  if (code === "NOPERM") {
    return new NoAnswer(`Redis at ${where} does not permit this login to run scripts: ${text}`);
  }
  if (LOGIN.test(text)) {
    return new NoAnswer(`Redis at ${where} refuses the login: ${text}`);
  }
  if (text.includes("compiling script") || text.includes("unexpected symbol near '#'")) {
    return new WrongVersion(
      `Redis at ${where} does not know #!lua scripts: use Redis or Valkey 7.0 or newer (${text})`,
    );
  }
  if (/unknown command.*evalsha/i.test(text)) {
    return new WrongVersion(
      `the server at ${where} runs no scripts: a Sentinel is named redis+sentinel://${where}/master-name/0`,
    );
  }
  return new BudgetError(`Redis at ${where} refused a script: ${text}`);
}

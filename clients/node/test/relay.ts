/** A TCP relay in front of Redis that cuts a connection after k bytes, or goes silent. */

import { createConnection, createServer, type Server, type Socket } from "node:net";

export type Side = "request" | "reply";

export class Relay {
  /** How many connections were cut. */
  cuts = 0;
  /** Bytes of each side since the last `cut`. */
  passed = { request: 0, reply: 0 };
  /** Nothing of a reply arrives any more. */
  silent = false;
  #cut: { readonly side: Side; readonly after: number } | undefined;
  readonly #server: Server;
  readonly #open = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  /** A relay to a URL's server. */
  static async to(url: string): Promise<Relay> {
    const { hostname, port } = new URL(url);
    const server = createServer({ noDelay: true });
    const relay = new Relay(server);
    server.on("connection", (near) => {
      const far = createConnection({ host: hostname, port: Number(port), noDelay: true });
      for (const [from, into, side] of [
        [near, far, "request"],
        [far, near, "reply"],
      ] as const) {
        relay.#open.add(from);
        from.on("data", (data) => relay.#pass(data, from, into, side));
        from.on("error", () => undefined);
        from.on("close", () => {
          relay.#open.delete(from);
          into.destroy();
        });
      }
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return relay;
  }

  /** The URL of the server by way of the relay. */
  of(url: string): string {
    const through = new URL(url);
    const address = this.#server.address();
    through.port = String(typeof address === "object" && address !== null ? address.port : 0);
    return through.href;
  }

  /** Cuts a connection once, after that many more bytes of a side. */
  cut(side: Side, after: number): void {
    this.passed = { request: 0, reply: 0 };
    this.#cut = { side, after };
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#open) {
      socket.destroy();
    }
  }

  #pass(data: Buffer, from: Socket, into: Socket, side: Side): void {
    if (this.silent && side === "reply") {
      return;
    }
    const left = this.#cut?.side === side ? this.#cut.after - this.passed[side] : undefined;
    if (left !== undefined && data.length >= left) {
      this.#cut = undefined;
      this.cuts += 1;
      into.end(data.subarray(0, left));
      from.destroySoon();
      return;
    }
    this.passed[side] += data.length;
    into.write(data);
  }
}

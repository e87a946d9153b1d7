// SPDX-License-Identifier: Apache-2.0
// The outside end of the guest protocol (src/base/guest_call.h), for tests that run a guest without hands: listens on the
// socket that the guest dials and speaks the frames of base/frame.h.
import net from 'node:net';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export const GUEST = process.env.PINFOLD_GUEST ??
  fileURLToPath(new URL('../../build/src/guest/pinfold-guest', import.meta.url));

export const GC = {
  HELLO: 1, WELCOME: 2, EXECUTE: 3, OUTPUT: 4, RESULT: 5, CANCEL: 6, COLLECT: 7, ACK: 8, PING: 9, PONG: 10, TROUBLE: 11,
};
export const STATUS = { OK: 0, CANCELLED: 1, UNKNOWN: 2, RUNNING: 3 };

const HEAD = 16;

// Fields: a number or bigint is a u64, anything else a byte string.
export function encode(type, call, fields) {
  const parts = fields.map((f) => {
    if (typeof f === 'number' || typeof f === 'bigint') {
      const b = Buffer.alloc(8);
      b.writeBigUInt64LE(BigInt(f));
      return b;
    }
    const bytes = Buffer.from(f);
    const b = Buffer.alloc(4 + bytes.length);
    b.writeUInt32LE(bytes.length);
    bytes.copy(b, 4);
    return b;
  });
  const payload = Buffer.concat(parts);
  const head = Buffer.alloc(HEAD);
  head.writeUInt32LE(payload.length, 0);
  head.writeUInt16LE(type, 4);
  head.writeBigUInt64LE(BigInt(call), 8);
  return Buffer.concat([head, payload]);
}

// `shape`: one letter a field, u (u64, as a number) or s (text).
export function decode(payload, shape) {
  const out = [];
  let at = 0;
  for (const kind of shape) {
    if (kind === 'u') {
      out.push(Number(payload.readBigUInt64LE(at)));
      at += 8;
      continue;
    }
    const n = payload.readUInt32LE(at);
    out.push(payload.toString('utf8', at + 4, at + 4 + n));
    at += 4 + n;
  }
  if (at !== payload.length) throw new Error(`${payload.length - at} bytes left over in a frame`);
  return out;
}

export class Driver {
  constructor(path, limits = { procs: 0, memory: 0, file: 0 }) {
    this.path = path;
    this.limits = limits;
    this.key = '';
    this.calls = new Map(); // call id -> resolve
    this.next = 1;
    this.hellos = [];
    this.outputs = [];
    this.troubles = [];
    this.conn = null;
    this.refused = 0;
    this.server = net.createServer((c) => this.#accept(c));
  }

  async listen() {
    this.server.listen(this.path);
    await once(this.server, 'listening');
  }

  async ready() {
    while (!this.conn) await new Promise((r) => (this.onReady = r));
  }

  #accept(c) {
    let buf = Buffer.alloc(0);
    c.on('error', () => {});
    c.on('close', () => {
      if (this.conn === c) this.conn = null;
      this.onLost?.();
    });
    c.on('data', (d) => {
      buf = buf.length ? Buffer.concat([buf, d]) : d;
      while (buf.length >= HEAD) {
        const n = buf.readUInt32LE(0);
        if (buf.length < HEAD + n) break;
        this.#frame(c, buf.readUInt16LE(4), buf.readBigUInt64LE(8), buf.subarray(HEAD, HEAD + n));
        buf = buf.subarray(HEAD + n);
      }
    });
  }

  #frame(c, type, call, payload) {
    if (type === GC.HELLO) {
      const [protocol, key, pid, started] = decode(payload, 'usuu');
      if (key !== this.key) {
        this.refused++;
        c.destroy();
        return;
      }
      this.hellos.push({ protocol, key, pid, started });
      this.key ||= `key-${Math.random()}`;
      c.write(encode(GC.WELCOME, 0, [this.key, this.limits.procs, this.limits.memory, this.limits.file]));
      this.conn = c;
      this.onReady?.();
    } else if (type === GC.RESULT) {
      const [id, status, isError, text, path, chars, runUs] = decode(payload, 'suussuu');
      const waiting = this.calls.get(Number(call));
      if (status !== STATUS.RUNNING) this.calls.delete(Number(call));
      waiting?.({ id, status, isError: !!isError, text, path, chars, runUs });
    } else if (type === GC.OUTPUT) {
      this.outputs.push(decode(payload, 'ss'));
      this.onOutput?.();
    } else if (type === GC.TROUBLE) {
      this.troubles.push(decode(payload, 'ss'));
    } else if (type === GC.PING) {
      c.write(encode(GC.PONG, call, []));
    } else if (type === GC.PONG) {
      this.calls.get(Number(call))?.();
    }
  }

  #ask(type, fields) {
    const call = this.next++;
    const answer = new Promise((r) => this.calls.set(call, r));
    this.conn.write(encode(type, call, fields));
    return answer;
  }

  execute(id, tool, input, timeoutMs = 0) {
    return this.#ask(GC.EXECUTE, [id, tool, typeof input === 'string' ? input : JSON.stringify(input), timeoutMs]);
  }

  collect(id) {
    return this.#ask(GC.COLLECT, [id]);
  }

  ping() {
    return this.#ask(GC.PING, []);
  }

  cancel(id) {
    this.conn.write(encode(GC.CANCEL, 0, [id]));
  }

  ack(id) {
    this.conn.write(encode(GC.ACK, 0, [id]));
  }

  raw(bytes) {
    this.conn.write(bytes);
  }

  close() {
    this.conn?.destroy();
    this.server.close();
  }
}

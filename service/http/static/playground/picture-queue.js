// The pictures to denoise: one after the other, the current one first, each with its own parameters.

import { denoise } from "./denoise-request.js";

export class PictureQueue {
  #running = null;
  #events;

  /**
   * `events` are called with a picture: `changed` when its state changes, `progressed` with how far its request is,
   * `prepared` when what is sent is made anew, `ended` after its request, which may have failed or been cancelled.
   */
  constructor(events) {
    this.items = [];
    this.current = null;
    this.#events = events;
  }

  /** Add a file, and return its picture. */
  add(file, parameters) {
    const item = { file, parameters, state: "waiting", url: URL.createObjectURL(file) };
    this.items.push(item);
    this.restart(item, parameters);
    return item;
  }

  /** Denoise a picture with other parameters. What is sent is kept if its noise is the same. */
  restart(item, parameters) {
    if (item === this.#running) item.abort.abort();
    const { kind, level } = item.parameters;
    if (kind !== parameters.kind || level !== parameters.level) item.sent = null;
    Object.assign(item, { state: "waiting", error: null, parameters });
    this.#events.changed(item);
    this.#work();
  }

  /** Cancel the request in progress. */
  cancel() {
    this.#running?.abort.abort();
  }

  /** Remove a picture. The one before it becomes the current one if it was that. */
  remove(item) {
    if (item === this.#running) item.abort.abort();
    const at = this.items.indexOf(item);
    this.items.splice(at, 1);
    for (const url of [item.url, item.sentUrl, item.result?.url]) if (url) URL.revokeObjectURL(url);
    if (item === this.current) this.current = this.items[Math.max(0, at - 1)] ?? null;
    this.#events.changed(item);
  }

  async #work() {
    if (this.#running) return;
    const waiting = this.items.filter(({ state }) => state === "waiting");
    const item = waiting.find((one) => one === this.current) ?? waiting[0];
    if (!item) return;
    this.#running = item;
    Object.assign(item, { state: "running", abort: new AbortController() });
    this.#events.changed(item);
    await this.#run(item);
    this.#running = null;
    await this.#events.ended(item);
    this.#work();
  }

  async #run(item) {
    const { parameters } = item;
    const { progressed, prepared } = this.#events;
    try {
      await denoise(item, { onProgress: (progress) => progressed(item, progress), onSent: () => prepared(item) });
      if (item.state === "running") item.state = "done";
    } catch (error) {
      if (item.parameters !== parameters) return; // it waits again, with other parameters
      const cancelled = error.name === "AbortError";
      Object.assign(item, { state: cancelled ? "cancelled" : "failed", error: cancelled ? null : error });
    }
  }
}

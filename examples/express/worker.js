// One loop that works on what is in the inbox, beside the web server.

/** Milliseconds until work that failed is tried again. */
const PAUSE = 60_000;

/** Does the work until it is stopped. What was left over from the last time comes first. */
export class Worker {
  #inbox;
  #work;
  #stopping = false;
  #woken = false;
  #wake = () => {};
  #running;

  constructor(inbox, work) {
    this.#inbox = inbox;
    this.#work = work;
  }

  start() {
    this.#running = this.#run();
  }

  /** Say that something came. */
  wake() {
    this.#woken = true;
    this.#wake();
  }

  /** Finish the piece of work that is under way; the rest stays in the inbox. */
  async stop() {
    this.#stopping = true;
    this.wake();
    await this.#running;
  }

  async #run() {
    await this.#guarded("the inbox", () => this.#inbox.forgetOld());
    while (!this.#stopping) {
      this.#woken = false; // before looking, so that nothing that comes meanwhile is overlooked
      await this.#guarded("the inbox", () => this.#workOff());
      if (!this.#woken) await this.#pause();
    }
  }

  async #workOff() {
    for (const [id, body] of await this.#inbox.unfinished()) {
      if (this.#stopping) return;
      await this.#guarded(id, () => this.#workOn(id, body));
    }
  }

  async #workOn(id, body) {
    const cameBefore = await this.#inbox.isFinished(id);
    if (!cameBefore) await this.#work(JSON.parse(body));
    await this.#inbox.finish(id);
    console.log(cameBefore ? `${id} came before` : `worked on ${id}`);
  }

  async #guarded(what, step) {
    try {
      await step();
    } catch (error) {
      console.error(`work on ${what} failed; trying again in a minute:`, error);
    }
  }

  #pause() {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, PAUSE);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

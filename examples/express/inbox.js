// What was received, in a LevelDB folder: nothing that was answered 204 is lost, and nothing is worked on twice.
//
// One process owns the folder: LevelDB refuses a second one.

import { Level } from "level";

/** The bridge can send a message again for 30 days after its last attempt, which can be a week after the first. */
const REMEMBERED = 60 * 24 * 60 * 60 * 1000;

/** Callbacks by their `webhook-id`. What is written is on disk when a call returns. */
export class Inbox {
  #database;
  #waiting;
  #finished;

  constructor(folder) {
    this.#database = new Level(folder);
    this.#waiting = this.#database.sublevel("waiting");
    this.#finished = this.#database.sublevel("finished");
  }

  /** Open the folder; throws where another process has it. */
  open() {
    return this.#database.open();
  }

  /** Close it, after what is under way. */
  close() {
    return this.#database.close();
  }

  /**
   * Keep a callback until it is worked on; false if it came before. Of two that come at once both are kept, in the
   * same place. A crash right after this loses nothing: the work is found again at the next start.
   */
  async keep(id, body) {
    if (await this.isFinished(id)) return false;
    await this.#write({ type: "put", sublevel: this.#waiting, key: id, value: body });
    return true;
  }

  /** Whether the work on it is done. */
  async isFinished(id) {
    return (await this.#finished.get(id)) !== undefined;
  }

  /** List ids and bodies of what is still to be worked on. */
  unfinished() {
    return this.#waiting.iterator().all();
  }

  /** Note that the work is done. A crash right before this repeats it. */
  finish(id) {
    return this.#write(
      { type: "del", sublevel: this.#waiting, key: id },
      { type: "put", sublevel: this.#finished, key: id, value: String(Date.now()) },
    );
  }

  /** Forget what the bridge will not send again. */
  async forgetOld() {
    const all = await this.#finished.iterator().all();
    const old = all.filter(([, when]) => Number(when) < Date.now() - REMEMBERED);
    await this.#write(...old.map(([key]) => ({ type: "del", sublevel: this.#finished, key })));
  }

  #write(...steps) {
    return this.#database.batch(steps, { sync: true });
  }
}

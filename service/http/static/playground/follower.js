// Decodes the code at the cursor while it moves.

const IN_FLIGHT = 4; // requests sent before the first is answered, so that a slow network still gives 30 digits a second
const LEAST_ARRIVALS = 3;

export class Follower {
  #inFlight = 0;
  #sent = 0;
  #shown = 0;
  #waiting = null;
  #arrivals = []; // when the digits of the last second came

  /** `decode` returns the digit of a code; `onDigit` is called with the digit, its code and the digits of the last second, or null. */
  constructor(decode, onDigit) {
    this.decode = decode;
    this.onDigit = onDigit;
  }

  /** Decode a code. Codes that the service cannot follow are left out, and late answers are ignored. */
  async follow(code) {
    this.#waiting = code;
    if (this.#inFlight >= IN_FLIGHT) return;
    this.#inFlight++;
    while (this.#waiting) {
      const next = this.#waiting;
      this.#waiting = null;
      const number = ++this.#sent;
      const digit = await this.decode(next);
      if (!digit || number < this.#shown) continue;
      this.#shown = number;
      this.onDigit(digit, next, this.#count());
    }
    this.#inFlight--;
  }

  /** Return how many digits came in the last second, or null if the cursor has not moved for so long. */
  #count() {
    const now = performance.now();
    this.#arrivals.push(now);
    while (this.#arrivals[0] < now - 1000) this.#arrivals.shift();
    return this.#arrivals.length >= LEAST_ARRIVALS && now - this.#arrivals[0] > 800 ? this.#arrivals.length : null;
  }
}

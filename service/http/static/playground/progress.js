// How far a slow request is. The time that it will take is estimated from the speed of the one before.

import { $ } from "./ui.js";

const FIRST_RATE = 1e6 / 1500; // pixels a millisecond, before the first request
const WORDS = { sending: "Sending", receiving: "Receiving", preparing: "Preparing the picture" };

export class Progress {
  #rate = FIRST_RATE;

  constructor(box) {
    this.box = box;
    this.text = $(".wait-text", box);
    this.bar = $("progress", box);
  }

  /** Keep the speed of a request for the estimate of the next. */
  record(pixels, milliseconds) {
    if (pixels) this.#rate = pixels / milliseconds;
  }

  /** Show the phase of a request, and the share of it if known; `started` is in milliseconds. */
  show({ phase, share, pixels = 0, started = 0 }) {
    this.box.hidden = false;
    if (phase === "computing") {
      const seconds = (performance.now() - started) / 1e3;
      const expected = pixels / this.#rate / 1e3;
      this.text.textContent = `Denoising: ${seconds.toFixed(0)} s of about ${Math.max(expected, seconds).toFixed(0)} s`;
      this.bar.value = Math.min(95, (100 * seconds) / Math.max(expected, 0.1));
    } else {
      this.text.textContent = WORDS[phase] + (share == null ? "" : `: ${Math.round(share * 100)} %`);
      if (share == null) this.bar.removeAttribute("value");
      else this.bar.value = share * 100;
    }
  }

  hide() {
    this.box.hidden = true;
    this.text.textContent = "";
  }
}

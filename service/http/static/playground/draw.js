// A pad to draw a digit on, with the mouse, a pen or a finger, and the digit in the form of MNIST.

const SIDE = 280;
const PEN = 22; // width of the line, as thick as those of MNIST
const BOX = 20; // MNIST fits digits into 20 by 20 pixels, and puts their centre of mass into the middle of 28 by 28

export class Pad {
  /** `onChange` is called with the digit (Uint8Array of 784) at each stroke. */
  constructor(canvas, onChange) {
    this.canvas = canvas;
    this.onChange = onChange;
    canvas.width = canvas.height = SIDE;
    canvas.dataset.drawable = "";
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.last = null;
    this.clear(false);
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const type of ["pointerup", "pointercancel"]) canvas.addEventListener(type, () => (this.last = null));
  }

  /** Make the pad black. */
  clear(changed = true) {
    this.context.fillStyle = "#000";
    this.context.fillRect(0, 0, SIDE, SIDE);
    this.shown = null;
    this.canvas.dataset.empty = "";
    if (changed) this.onChange(this.digit());
  }

  /** Show a digit as it is; drawing begins anew on a black pad. */
  show(digit) {
    this.shown = digit;
    delete this.canvas.dataset.empty;
    const small = new OffscreenCanvas(28, 28);
    const image = new ImageData(28, 28);
    digit.forEach((grey, index) => image.data.set([grey, grey, grey, 255], 4 * index));
    small.getContext("2d").putImageData(image, 0, 0);
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(small, 0, 0, SIDE, SIDE);
    this.onChange(digit);
  }

  /** Return what is drawn as a digit of MNIST: scaled into a box and centred by its mass. */
  digit() {
    if (this.shown) return this.shown;
    const { data } = this.context.getImageData(0, 0, SIDE, SIDE);
    const box = bounds(data);
    if (!box) return new Uint8Array(784);
    const [x, y] = centreOfMass(this.#scaled(box, 0, 0));
    return this.#scaled(box, Math.round(13.5 - x), Math.round(13.5 - y));
  }

  /** Return a part of the pad in the middle of 28 by 28 pixels, moved by (dx, dy). */
  #scaled({ left, top, width, height }, dx, dy) {
    const scale = BOX / Math.max(width, height);
    const context = new OffscreenCanvas(28, 28).getContext("2d", { willReadFrequently: true });
    context.fillRect(0, 0, 28, 28);
    context.imageSmoothingQuality = "high";
    const size = [width * scale, height * scale];
    context.drawImage(this.canvas, left, top, width, height, (28 - size[0]) / 2 + dx, (28 - size[1]) / 2 + dy, ...size);
    const { data } = context.getImageData(0, 0, 28, 28);
    return Uint8Array.from({ length: 784 }, (_, index) => data[4 * index]);
  }

  #at(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    return [((event.clientX - left) / width) * SIDE, ((event.clientY - top) / height) * SIDE];
  }

  #press(event) {
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    if (this.shown) this.clear(false);
    this.last = this.#at(event);
    this.#stroke(this.last);
  }

  #move(event) {
    if (!this.last) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) this.#stroke(this.#at(one));
  }

  #stroke(to) {
    delete this.canvas.dataset.empty;
    Object.assign(this.context, { strokeStyle: "#fff", lineWidth: PEN, lineCap: "round" });
    this.context.beginPath();
    this.context.moveTo(...this.last);
    this.context.lineTo(...to);
    this.context.stroke();
    this.last = to;
    this.onChange(this.digit());
  }
}

function bounds(data) {
  let [left, top, right, bottom] = [SIDE, SIDE, -1, -1];
  for (let index = 0; index < SIDE * SIDE; index++) {
    if (data[4 * index] < 64) continue;
    const x = index % SIDE;
    const y = (index - x) / SIDE;
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = y;
  }
  return right < 0 ? null : { left, top, width: right - left + 1, height: bottom - top + 1 };
}

function centreOfMass(digit) {
  let [mass, x, y] = [0, 0, 0];
  digit.forEach((value, index) => {
    mass += value;
    x += value * (index % 28);
    y += value * Math.floor(index / 28);
  });
  return [x / mass, y / mass];
}

// Two pictures of one scene, one above the other, with a divider, and zoom and pan that stay in step.

import { $, $$ } from "./ui.js";

const MAX_SCALE = 32;
const STEP = 1.5;

export class Compare {
  /** `onZoom` is called with the scale in screen pixels for each pixel of the picture. */
  constructor(box, onZoom) {
    this.box = box;
    this.onZoom = onZoom;
    this.images = $$("img", box);
    this.range = $(".divider-range", box);
    this.view = { scale: 1, x: 0, y: 0 };
    this.size = null;
    this.pointers = new Map();
    this.range.addEventListener("input", () => this.divide(Number(this.range.value)));
    box.addEventListener("pointerdown", (event) => this.#press(event));
    box.addEventListener("pointermove", (event) => this.#move(event));
    for (const type of ["pointerup", "pointercancel"]) box.addEventListener(type, (event) => this.#release(event));
    box.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    box.addEventListener("dblclick", (event) => this.#doubleClick(event));
    box.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => (this.zoomed ? this.#draw() : this.fit())).observe(box);
    this.divide(50);
  }

  /** Show the two pictures by their addresses. A missing second one leaves the first alone. */
  async show(before, after, keepView = false) {
    const [first, second] = this.images;
    this.box.classList.toggle("alone", !after);
    await Promise.all([this.#load(first, before), this.#load(second, after)]);
    const { naturalWidth: width, naturalHeight: height } = first.naturalWidth ? first : second;
    const changed = this.size?.width !== width || this.size?.height !== height;
    this.size = width ? { width, height } : null;
    if (changed || !keepView) this.fit();
    else this.#draw();
  }

  async #load(image, url) {
    if (!url) {
      image.removeAttribute("src");
      image.classList.remove("shown");
      return;
    }
    if (image.getAttribute("src") !== url) image.src = url;
    else if (image.complete) return;
    const known = await image.decode().then(
      () => true,
      () => false,
    );
    if (image.getAttribute("src") === url) image.classList.toggle("shown", known);
  }

  get #fitScale() {
    const { clientWidth, clientHeight } = this.box;
    return this.size ? Math.min(clientWidth / this.size.width, clientHeight / this.size.height) : 1;
  }

  get zoomed() {
    return this.view.scale > this.#fitScale * 1.001;
  }

  /** Show the whole picture. */
  fit() {
    this.view.scale = this.#fitScale;
    this.#draw();
  }

  /** Show each pixel of the picture as one pixel of the screen. */
  full() {
    this.zoomTo(1 / (window.devicePixelRatio || 1));
  }

  zoomIn() {
    this.zoomTo(this.view.scale * STEP);
  }

  zoomOut() {
    this.zoomTo(this.view.scale / STEP);
  }

  /** Zoom so that the point (x, y) of the box stays where it is; without one, its middle. */
  zoomTo(scale, x = this.box.clientWidth / 2, y = this.box.clientHeight / 2) {
    const next = Math.min(MAX_SCALE, Math.max(this.#fitScale, scale));
    const ratio = next / this.view.scale;
    this.view = { scale: next, x: x - (x - this.view.x) * ratio, y: y - (y - this.view.y) * ratio };
    this.#draw();
  }

  /** Move the divider to a share (0..100) of the width. */
  divide(percent) {
    this.percent = Math.min(100, Math.max(0, percent));
    this.range.value = String(Math.round(this.percent));
    $(".divider", this.box).style.left = `${this.percent}%`;
    $(".after", this.box).style.clipPath = `inset(0 0 0 ${this.percent}%)`;
    $(".before", this.box).style.clipPath = `inset(0 ${100 - this.percent}% 0 0)`;
  }

  #draw() {
    if (!this.size) return;
    const { clientWidth, clientHeight } = this.box;
    const { scale } = this.view;
    const width = this.size.width * scale;
    const height = this.size.height * scale;
    // A picture smaller than the box is in its middle; a larger one leaves no gap at a side.
    const clamp = (at, inside, outside) =>
      inside <= outside ? (outside - inside) / 2 : Math.min(0, Math.max(outside - inside, at));
    this.view.x = clamp(this.view.x, width, clientWidth);
    this.view.y = clamp(this.view.y, height, clientHeight);
    for (const image of this.images) {
      // A denoised picture of another size, as models of fixed size answer, covers the same area.
      image.style.width = `${this.size.width}px`;
      image.style.height = `${this.size.height}px`;
      image.style.transform = `translate(${this.view.x}px, ${this.view.y}px) scale(${scale})`;
    }
    this.box.classList.toggle("zoomed", this.zoomed);
    this.box.classList.toggle("pixels", scale * (window.devicePixelRatio || 1) >= 2);
    this.onZoom(scale * (window.devicePixelRatio || 1));
  }

  #at(event) {
    const { left, top, width } = this.box.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top, width };
  }

  #press(event) {
    if (event.target.closest(".wait") || event.button > 0) return;
    event.preventDefault();
    this.range.focus({ focusVisible: false, preventScroll: true });
    this.box.setPointerCapture(event.pointerId);
    const { x, y, width } = this.#at(event);
    this.pointers.set(event.pointerId, { x, y });
    const nearDivider = Math.abs(x - (width * this.percent) / 100) < 24;
    this.dividing = this.pointers.size === 1 && (nearDivider || !this.zoomed);
    if (this.dividing && !nearDivider) this.divide((100 * x) / width);
    this.box.classList.toggle("dragging", !this.dividing);
  }

  #move(event) {
    const last = this.pointers.get(event.pointerId);
    if (!last) return;
    const { x, y, width } = this.#at(event);
    if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const distance = (point) => Math.hypot(point.x - other.x, point.y - other.y);
      this.zoomTo((this.view.scale * distance({ x, y })) / Math.max(1, distance(last)), (x + other.x) / 2, (y + other.y) / 2);
    } else if (this.dividing) {
      this.divide((100 * x) / width);
    } else {
      this.view.x += x - last.x;
      this.view.y += y - last.y;
      this.#draw();
    }
    this.pointers.set(event.pointerId, { x, y });
  }

  #release(event) {
    this.pointers.delete(event.pointerId);
    this.box.classList.remove("dragging");
  }

  #wheel(event) {
    if (!event.ctrlKey && !event.metaKey && !this.zoomed) return; // the page scrolls
    event.preventDefault();
    const { x, y } = this.#at(event);
    this.zoomTo(this.view.scale * Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), x, y);
  }

  #doubleClick(event) {
    const { x, y } = this.#at(event);
    if (this.zoomed) this.fit();
    else this.zoomTo(Math.max(this.#fitScale * 4, 1), x, y);
  }

  #key(event) {
    const pan = { ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
    if (event.key === "+" || event.key === "=") this.zoomIn();
    else if (event.key === "-") this.zoomOut();
    else if (event.key === "0") this.fit();
    else if (event.shiftKey && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      this.view.x += event.key === "ArrowLeft" ? 40 : -40;
      this.#draw();
    } else if (pan) {
      this.view.y += pan[1];
      this.#draw();
    } else return;
    event.preventDefault();
  }
}

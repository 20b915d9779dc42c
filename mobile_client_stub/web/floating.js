/** The cut-out that floats over the picture: drawn, dragged, pinched, twisted, moved by keys; a tap is told apart. */

import {pinched} from "/web/geometry.js";

const TAP_PX = 10;
const TAP_MS = 600;
const FRAME_MARGIN = 12;
const MIN_SHOWN = 24;
const SHADOW_SIDE = 480;
const SHADOW_REACH = 44;  // CSS pixels around the cut-out

export class Floating extends EventTarget {
  #stage; #group; #image; #frame; #shadow; #shadowed = 1; #pointers = new Map(); #pressed = null; #home = null; #url = null;
  at = null;
  movable = false;

  constructor(stage, group) {
    super();
    this.#stage = stage;
    this.#group = group;
    [this.#image, this.#frame, this.#shadow] = ["img", "#frame", "#shadow"].map((part) => group.querySelector(part));
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => this.#up(event));
    stage.addEventListener("wheel", (event) => this.#wheel(event), {passive: false});
    group.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Show a PNG at `at` = {x, y, scale, rotation}: stage position of its centre, CSS pixels per pixel, degrees. */
  async show(blob, at, words) {
    this.hide();
    this.#url = URL.createObjectURL(blob);
    this.#image.src = this.#url;
    await this.#image.decode();
    this.#image.alt = words;
    this.#castShadow(at.scale);
    this.#home = {...at};
    this.#group.hidden = false;
    this.#group.classList.remove("landing");
    this.place(at);
  }

  /** Its shadow and hairline, drawn once: a CSS filter would be computed anew for every frame of the live picture below. */
  #castShadow(scale) {
    const {naturalWidth: width, naturalHeight: height} = this.#image;
    const k = this.#shadowed = Math.min(1, SHADOW_SIDE / Math.max(width, height)), css = k / scale;  // drawn pixels per CSS pixel
    const margin = Math.ceil(SHADOW_REACH * css), away = 4 * SHADOW_SIDE;
    Object.assign(this.#shadow, {width: Math.ceil(width * k) + 2 * margin, height: Math.ceil(height * k) + 2 * margin});
    const drawing = this.#shadow.getContext("2d");
    for (const [color, blur, down] of [["rgb(0 0 0 / 62%)", 26, 12], ["rgb(255 255 255 / 85%)", 1.6, 0]]) {
      Object.assign(drawing, {shadowColor: color, shadowBlur: blur * css, shadowOffsetX: away, shadowOffsetY: down * css});
      drawing.drawImage(this.#image, margin - away, margin, width * k, height * k);
    }
  }

  hide() {
    this.#group.hidden = true;
    this.#group.classList.remove("lifting", "landing");
    this.at = null;
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = null;
  }

  lift() {
    this.#group.classList.remove("lifting");
    void this.#group.offsetWidth;
    this.#group.classList.add("lifting");
  }

  land(gone) { this.#group.classList.toggle("landing", gone); }

  reset() { if (this.#home) this.place(this.#home); }

  place(at) {
    this.at = {...at};
    const {naturalWidth: width, naturalHeight: height} = this.#image;
    this.#group.style.transform = `translate(${at.x}px, ${at.y}px)`;
    this.#image.style.transform = `rotate(${at.rotation}deg) scale(${at.scale}) translate(-50%, -50%)`;
    this.#shadow.style.transform = `rotate(${at.rotation}deg) scale(${at.scale / this.#shadowed}) translate(-50%, -50%)`;
    const [w, h] = [width * at.scale + 2 * FRAME_MARGIN, height * at.scale + 2 * FRAME_MARGIN];
    Object.assign(this.#frame.style, {width: `${w}px`, height: `${h}px`, transform: `translate(-50%, -50%) rotate(${at.rotation}deg)`});
    this.dispatchEvent(new Event("moved"));
  }

  get #limits() {
    const side = Math.max(this.#image.naturalWidth, this.#image.naturalHeight, 1);
    return {min: MIN_SHOWN / side, max: 3 * Math.max(this.#stage.clientWidth, this.#stage.clientHeight) / side};
  }

  #point(event) {
    const {left, top} = this.#stage.getBoundingClientRect();
    return {x: event.clientX - left, y: event.clientY - top};
  }

  #down(event) {
    if (event.button) return;
    this.#stage.setPointerCapture?.(event.pointerId);
    this.#pointers.set(event.pointerId, this.#point(event));
    if (this.#pointers.size === 1) this.#pressed = {at: this.#point(event), time: event.timeStamp};
    else this.#pressed = null;
  }

  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const now = this.#point(event);
    if (this.#pressed) {
      if (Math.hypot(now.x - this.#pressed.at.x, now.y - this.#pressed.at.y) < TAP_PX) return;
      this.#pressed = null;
    }
    const old = [...this.#pointers.values()];
    this.#pointers.set(event.pointerId, now);
    if (!this.movable || !this.at) return;
    if (old.length === 1) this.place({...this.at, x: this.at.x + now.x - before.x, y: this.at.y + now.y - before.y});
    else if (old.length === 2) this.place(pinched(this.at, old, [...this.#pointers.values()], this.#limits));
  }

  #up(event) {
    const at = this.#point(event);
    const tapped = this.#pressed && event.type === "pointerup" && event.timeStamp - this.#pressed.time < TAP_MS;
    this.#pointers.delete(event.pointerId);
    this.#pressed = null;
    if (tapped) this.dispatchEvent(new CustomEvent("tapped", {detail: at}));
  }

  #wheel(event) {
    if (!this.movable || !this.at) return;
    event.preventDefault();
    this.#change(Math.exp(-event.deltaY / 400), 0);
  }

  #change(factor, turn) {
    const {min, max} = this.#limits;
    this.place({...this.at, scale: Math.min(Math.max(this.at.scale * factor, min), max), rotation: this.at.rotation + turn});
  }

  #key(event) {
    if (!this.movable || !this.at) return;
    const step = event.shiftKey ? 40 : 8;
    const moves = {ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step]};
    if (event.key in moves) {
      const [dx, dy] = moves[event.key];
      this.place({...this.at, x: this.at.x + dx, y: this.at.y + dy});
    } else if ("+=".includes(event.key)) this.#change(1.06, 0);
    else if (event.key === "-") this.#change(1 / 1.06, 0);
    else if (event.key === ",") this.#change(1, -5);
    else if (event.key === ".") this.#change(1, 5);
    else if (event.key === "Enter" || event.key === " ") this.dispatchEvent(new CustomEvent("tapped", {detail: this.at}));
    else return;
    event.preventDefault();
  }
}

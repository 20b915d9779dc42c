/** The live camera: opens, restarts a stream that ended in the background, light, other camera, pictures. */

const SHORT_MUTE_MS = 1500;

export class Camera extends EventTarget {
  #video; #stream = null; #facing = "environment"; #wanted = false; #opening = null; #lock = null; #resting = false;

  constructor(video) {
    super();
    this.#video = video;
    document.addEventListener("visibilitychange", () => this.#seen());
  }

  /** Whether this page may have a camera at all: browsers give it to secure contexts only. */
  static get possible() { return Boolean(window.isSecureContext && navigator.mediaDevices?.getUserMedia); }

  get live() { return this.#track?.readyState === "live" && this.#video.videoWidth > 0; }

  get size() { return {width: this.#video.videoWidth, height: this.#video.videoHeight}; }

  get #track() { return this.#stream?.getVideoTracks()[0]; }

  /** Raises what getUserMedia raises (NotAllowedError, NotFoundError, ...). */
  async open() {
    this.#wanted = true;
    this.#opening ??= this.#open().finally(() => { this.#opening = null; });
    await this.#opening;
  }

  async #open() {
    this.#stop();
    this.#stream = await navigator.mediaDevices.getUserMedia({audio: false, video: {
      facingMode: {ideal: this.#facing}, width: {ideal: 1920}, height: {ideal: 1080}, resizeMode: {ideal: "none"},
    }});
    const track = this.#track;
    track.addEventListener("ended", () => this.#restart());
    track.addEventListener("mute", () => setTimeout(() => track.muted && this.#restart(), SHORT_MUTE_MS));
    this.#video.srcObject = this.#stream;
    await this.#video.play().catch(() => {});  // a page in the background plays when it is seen again
    if (!this.#video.videoWidth) await new Promise((resolve) => this.#video.addEventListener("resize", resolve, {once: true}));
    document.body.classList.add("streaming");
    this.#stayAwake();
    this.dispatchEvent(new Event("opened"));
  }

  close() {
    this.#wanted = false;
    this.#stop();
    this.#lock?.release().catch(() => {});
  }

  #stop() {
    document.body.classList.remove("streaming");
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
  }

  async #restart() {
    if (!this.#wanted || document.hidden) return;
    await this.open().catch((error) => this.dispatchEvent(new CustomEvent("lost", {detail: error})));
  }

  #seen() {
    if (document.hidden || !this.#wanted) return;
    if (!this.#opening && (this.#track?.readyState !== "live" || this.#track.muted)) this.#restart();
    else this.#video.play().catch(() => {});
    this.#stayAwake();
  }

  async #stayAwake() {
    if (this.#lock && !this.#lock.released) return;
    this.#lock = await navigator.wakeLock?.request("screen").catch(() => null) ?? null;
  }

  /** How many cameras there are to choose from. */
  async count() {
    const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    return devices.filter((device) => device.kind === "videoinput").length;
  }

  async other() {
    this.#facing = this.#facing === "environment" ? "user" : "environment";
    await this.open();
  }

  get hasLight() { return Boolean(this.#track?.getCapabilities?.().torch); }

  async light(on) {
    await this.#track?.applyConstraints({advanced: [{torch: on}]}).catch(() => {});
  }

  /** While a frozen picture covers it, the live one needs no drawing. */
  rest() { this.#resting = true; this.#video.pause(); }

  wake() {
    if (!this.#resting) return;
    this.#resting = false;
    this.#video.play().catch(() => {});
  }

  /** The picture as it is now, drawn on a canvas that is reduced to `longSide` at most. */
  draw(canvas, longSide = Infinity) {
    return drawn(this.#video, this.size, canvas, longSide);
  }
}

/** Draw a picture of `size`, reduced to `longSide` at most; returns the reduction (drawn pixels per picture pixel). */
export function drawn(picture, size, canvas, longSide) {
  const reduction = Math.min(1, longSide / Math.max(size.width, size.height));
  canvas.width = Math.round(size.width * reduction);
  canvas.height = Math.round(size.height * reduction);
  const context = canvas.getContext("2d", {alpha: false});
  context.fillStyle = "#fff";  // what a picture from a file leaves transparent, as the server has it
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas.width / size.width;
}

export function jpeg(canvas, quality) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => blob ? resolve(blob) : reject(new Error("no memory for the picture")), "image/jpeg", quality);
  });
}

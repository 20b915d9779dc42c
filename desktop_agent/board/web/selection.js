// One focusable button a cut-out, for the keyboard and for screen readers, and the frame with handles around the chosen one.

const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]];

export class Selection {
  /** `onChoose` runs when another item, or none, is chosen. */
  constructor(stage, list, frame, onChoose) {
    Object.assign(this, { stage, list, frame, onChoose });
    this.id = null;
    this.buttons = new Map();
  }

  get item() {
    return this.stage.items.find((item) => item.id === this.id);
  }

  choose(id) {
    if (id === this.id) return;
    this.id = id;
    for (const [key, button] of this.buttons) button.setAttribute("aria-pressed", String(key === id));
    this.place();
    this.onChoose();
  }

  /** Choose by pointer or command: the keyboard goes along. */
  focus(id) {
    this.choose(id);
    const button = this.buttons.get(id);
    if (button) button.focus({ preventScroll: true });
    else document.activeElement?.blur();
  }

  /** Follow the stage's items: buttons in stacking order, with a name that says what and where. */
  refresh() {
    const { items } = this.stage;
    const present = new Set(items.map((item) => item.id));
    for (const [id, button] of [...this.buttons].filter(([key]) => !present.has(key))) {
      button.parentElement.remove();
      this.buttons.delete(id);
    }
    items.forEach((item, index) => {
      const button = this.buttons.get(item.id) ?? this.make(item.id);
      const turned = Math.round(item.rotation);
      const size = `${Math.round(item.width * item.scale)} by ${Math.round(item.height * item.scale)}`;
      const label = `Cut-out ${index + 1} of ${items.length}, ${size}` + (turned ? `, turned ${turned} degrees` : "");
      if (button.getAttribute("aria-label") !== label) button.setAttribute("aria-label", label);
      if (this.list.children[index] !== button.parentElement) {
        const focused = document.activeElement === button;
        this.list.insertBefore(button.parentElement, this.list.children[index] ?? null);
        if (focused) button.focus({ preventScroll: true });
      }
    });
    if (this.id && !present.has(this.id)) this.choose(null);
    this.place();
  }

  make(id) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", String(id === this.id));
    button.addEventListener("focus", () => this.choose(id));
    const entry = document.createElement("li");
    entry.append(button);
    this.buttons.set(id, button);
    return button;
  }

  /** Lay buttons and frame over what the canvas shows. */
  place() {
    for (const item of this.stage.items) {
      const button = this.buttons.get(item.id);
      if (button) this.lay(button, item);
    }
    const { item } = this;
    this.frame.hidden = !item;
    if (item) this.lay(this.frame, item);
  }

  lay(element, item) {
    const { pan, zoom } = this.stage;
    element.style.width = `${item.width * item.scale * zoom}px`;
    element.style.height = `${item.height * item.scale * zoom}px`;
    element.style.transform =
      `translate(${item.x * zoom + pan.x}px, ${item.y * zoom + pan.y}px) rotate(${item.rotation}deg) translate(-50%, -50%)`;
  }
}

/** A corner of an item in board units. */
export function cornerOf(item, index) {
  const angle = (item.rotation * Math.PI) / 180;
  const [x, y] = [(corners[index][0] * item.width * item.scale) / 2, (corners[index][1] * item.height * item.scale) / 2];
  return { x: item.x + x * Math.cos(angle) - y * Math.sin(angle), y: item.y + x * Math.sin(angle) + y * Math.cos(angle) };
}

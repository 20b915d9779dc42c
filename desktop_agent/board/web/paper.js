// The sheet itself: a terrazzo that never repeats, so that a camera can tell each part of an empty board from every other, and four
// corner marks by which the agent finds the page on its screenshot. Neither is part of a saved picture.

const CELL = 40; // CSS pixels between chips
const LIGHT = {
  paper: "#f7f5f0",
  mark: "#6f6b63",
  chips: ["#d1c9b7", "#bfcdc6", "#d1c2c7", "#bcc8d5", "#d6c5ad", "#b6b2a8"],
};
const DARK = {
  paper: "#1b1c1e",
  mark: "#98958d",
  chips: ["#706b60", "#5a716a", "#75626a", "#5e6f82", "#7d6a52", "#84837f"],
};

export const theme = (dark) => (dark ? DARK : LIGHT);

/** Numbers in [0, 1) that depend on the cell alone (xorshift seeded by a mix of its coordinates). */
function dice(column, row) {
  let state = Math.imul(column, 0x9e3779b1) ^ Math.imul(row, 0x85ebca77) ^ 0x5bd1e995;
  state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d);
  state = Math.imul(state ^ (state >>> 12), 0x297a2d39) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 4294967296;
  };
}

function chip(context, x, y, radius, roll) {
  const corners = 3 + Math.floor(roll() * 4);
  const start = roll() * 2 * Math.PI;
  const squeeze = 0.45 + 0.55 * roll();
  const tilt = roll() * Math.PI;
  const [cos, sin] = [Math.cos(tilt), Math.sin(tilt)];
  context.beginPath();
  for (let corner = 0; corner < corners; corner++) {
    const angle = start + ((corner + 0.55 * (roll() - 0.5)) * 2 * Math.PI) / corners;
    const reach = radius * (0.7 + 0.6 * roll());
    const [along, across] = [reach * Math.cos(angle), reach * squeeze * Math.sin(angle)];
    context.lineTo(x + along * cos - across * sin, y + along * sin + across * cos);
  }
  context.fill();
}

/** Paint the visible part of the sheet; `scale`, `x`, `y` take board units to device pixels, `ratio` CSS pixels to them. */
export function drawPaper(context, { scale, x, y, ratio }, dark) {
  const { paper, chips } = theme(dark);
  const { width, height } = context.canvas;
  context.fillStyle = paper;
  context.fillRect(0, 0, width, height);
  const octave = 2 ** Math.round(Math.log2(scale / ratio)); // chips keep their size on the screen at every zoom
  const cell = (CELL * scale) / octave;
  const [left, top] = [Math.floor(-x / cell) - 1, Math.floor(-y / cell) - 1];
  for (let row = top; row * cell + y < height + cell; row++) {
    for (let column = left; column * cell + x < width + cell; column++) {
      const roll = dice(column, row);
      for (let count = 1 + Math.floor(roll() * 2.4); count > 0; count--) {
        const radius = cell * (0.05 + 0.3 * roll() ** 3);
        context.fillStyle = chips[Math.floor(roll() * chips.length)];
        chip(context, (column + roll()) * cell + x, (row + roll()) * cell + y, radius, roll);
      }
    }
  }
}

/** Where the corner marks lie, in device pixels, clockwise from the top left. */
export function markLayout(width, height, ratio) {
  const radius = Math.max(6, Math.round(6 * ratio));
  const inset = radius + 6;
  const [right, bottom] = [width - inset, height - inset];
  return { radius, marks: [[inset, inset], [right, inset], [right, bottom], [inset, bottom]] };
}

/** Two opposite quarters of a disc a mark. Bit i of `code` clear: mark i is darker at its top left and bottom right. */
export function drawMarks(context, { radius, marks }, code, dark) {
  const colours = theme(dark);
  marks.forEach(([x, y], index) => {
    const plate = radius + 3;
    context.fillStyle = colours.paper;
    context.fillRect(x - plate, y - plate, 2 * plate, 2 * plate);
    context.fillStyle = colours.mark;
    const turn = ((code >> index) & 1) !== Number(dark) ? Math.PI / 2 : 0;
    for (const start of [Math.PI + turn, turn]) {
      context.beginPath();
      context.moveTo(x, y);
      context.arc(x, y, radius, start, start + Math.PI / 2);
      context.fill();
    }
  });
}

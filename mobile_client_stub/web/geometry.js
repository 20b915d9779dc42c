/**
 * Where a picture lies on the stage. Points of a picture have their pixel centres at integers, as everything that the agent
 * reads; stage points are CSS pixels.
 */

/** How a picture of width x height fills the stage: CSS pixels = k * (picture pixel + 0.5) + (x, y). */
export function fit(stage, picture, whole = false) {
  const ratios = [stage.width / picture.width, stage.height / picture.height];
  const k = whole ? Math.min(...ratios) : Math.max(...ratios);
  return {k, x: (stage.width - k * picture.width) / 2, y: (stage.height - k * picture.height) / 2};
}

export function toPicture(fitted, point) {
  return {x: (point.x - fitted.x) / fitted.k - 0.5, y: (point.y - fitted.y) / fitted.k - 0.5};
}

/** The point moved to the nearest pixel of the picture. */
export function inside(picture, point) {
  return {x: Math.min(Math.max(point.x, 0), picture.width - 1), y: Math.min(Math.max(point.y, 0), picture.height - 1)};
}

/** Where a cut-out with box [left, top, right, bottom] in its photo appears on the stage: centre, CSS pixels per pixel, degrees. */
export function overPhoto(fitted, box) {
  return {
    x: fitted.x + fitted.k * (box[0] + box[2]) / 2,
    y: fitted.y + fitted.k * (box[1] + box[3]) / 2,
    scale: fitted.k,
    rotation: 0,
  };
}

/** The agent's placement: the floating cut-out in pixels of a view that was reduced by `reduction` (sent pixels per picture pixel). */
export function placement(fitted, floating, reduction) {
  const at = toPicture(fitted, floating);
  return {
    x: (at.x + 0.5) * reduction - 0.5,
    y: (at.y + 0.5) * reduction - 0.5,
    scale: floating.scale / fitted.k * reduction,
    rotation: ((floating.rotation + 180) % 360 + 360) % 360 - 180,
  };
}

/** Two fingers moved from `before` to `after`: the floating cut-out sticks to them. */
export function pinched(floating, before, after, limits) {
  const [a, b] = before, [c, d] = after;
  const spread = Math.hypot(d.x - c.x, d.y - c.y) / Math.max(1, Math.hypot(b.x - a.x, b.y - a.y));
  const factor = Math.min(Math.max(floating.scale * spread, limits.min), limits.max) / floating.scale;
  const turn = Math.atan2(d.y - c.y, d.x - c.x) - Math.atan2(b.y - a.y, b.x - a.x);
  const from = {x: (a.x + b.x) / 2, y: (a.y + b.y) / 2}, to = {x: (c.x + d.x) / 2, y: (c.y + d.y) / 2};
  const dx = (floating.x - from.x) * factor, dy = (floating.y - from.y) * factor;
  return {
    x: to.x + dx * Math.cos(turn) - dy * Math.sin(turn),
    y: to.y + dx * Math.sin(turn) + dy * Math.cos(turn),
    scale: floating.scale * factor,
    rotation: floating.rotation + turn * 180 / Math.PI,
  };
}

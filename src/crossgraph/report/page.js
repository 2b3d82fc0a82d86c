"use strict";
// Words and regions light each other up. All data stands in the page; nothing is fetched.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const data = JSON.parse(document.getElementById("data").textContent);
  const FIELD = 96; // cells of the interpolated map along the longer side
  const STRONG = 4; // times an even share: a map whose peak is lower stays faint
  const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis

  for (const image of document.querySelectorAll("img[data-picture]")) {
    const { source } = data.pictures[image.dataset.picture];
    if (source) image.src = source;
  }
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  const layoutOf = (row) => data.layouts[data.pictures[row].layout];
  const bytes = new Map();
  function weights(number, row) {
    const pair = data.pairs[number];
    if (!bytes.has(number)) bytes.set(number, Uint8Array.from(atob(pair.weights), (c) => c.charCodeAt(0)));
    const all = bytes.get(number), count = all.length / pair.peaks.length;
    return Array.from(all.subarray(row * count, (row + 1) * count), (byte) => (byte / 255) * pair.peaks[row]);
  }
  // How far above an even share a region is: 0 at even, 1 at the strongest.
  function heats(values, strongest) {
    const most = Math.max(strongest * values.length, STRONG) - 1;
    return values.map((value) => Math.max(0, Math.min(1, (value * values.length - 1) / most)));
  }
  const colour = (t, alpha) => {
    const place = Math.min(t, 0.9999) * (RAMP.length - 1), low = Math.floor(place), part = place - low;
    const [r, g, b] = RAMP[low].map((value, i) => Math.round(value + part * (RAMP[low + 1][i] - value)));
    return [r, g, b, alpha];
  };
  const css = ([r, g, b, a]) => `rgba(${r},${g},${b},${a})`;

  function prepared(canvas) {
    const box = canvas.getBoundingClientRect(), ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(box.width * ratio)), height = Math.max(1, Math.round(box.height * ratio));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    return [pen, width, height, ratio];
  }
  const smooth = (part) => part * part * (3 - 2 * part);
  // Between the centres of a grid's cells values change evenly; beyond the outer centres they stay.
  function interpolated(heat, grids, columns, rows) {
    const field = new Float32Array(columns * rows), cells = grids.reduce((sum, [, r, c]) => sum + r * c, 0);
    for (const [start, r, c] of grids) {
      const share = (r * c) / cells;
      for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++) {
        const v = Math.max(0, Math.min(r - 1, ((y + 0.5) / rows) * r - 0.5)), u = Math.max(0, Math.min(c - 1, ((x + 0.5) / columns) * c - 0.5));
        const top = Math.floor(v), left = Math.floor(u), below = Math.min(r - 1, top + 1), beside = Math.min(c - 1, left + 1);
        const dv = smooth(v - top), du = smooth(u - left), at = (row, column) => heat[start + row * c + column];
        field[y * columns + x] += share * ((1 - dv) * ((1 - du) * at(top, left) + du * at(top, beside)) + dv * ((1 - du) * at(below, left) + du * at(below, beside)));
      }
    }
    return field;
  }
  function drawField(pen, width, height, ratio, field, columns, rows) {
    const small = document.createElement("canvas");
    [small.width, small.height] = [columns, rows];
    const ink = small.getContext("2d"), image = ink.createImageData(columns, rows);
    field.forEach((t, i) => {
      const [r, g, b] = colour(t, 1), shown = Math.max(0, (t - 0.08) / 0.92);
      image.data.set([r, g, b, Math.round(255 * 0.85 * shown ** 0.75)], 4 * i);
    });
    ink.putImageData(image, 0, 0);
    pen.imageSmoothingQuality = "high";
    pen.drawImage(small, 0, 0, width, height);
    const outline = contour(field, columns, rows, 0.5, width / columns, height / rows);
    for (const [style, line] of [["rgba(0,0,0,.45)", 3.2], ["rgba(255,255,255,.95)", 1.6]]) {
      pen.strokeStyle = style; pen.lineWidth = line * ratio; pen.lineCap = "round"; pen.stroke(outline);
    }
  }
  // Marching squares: where the field passes a level.
  function contour(field, columns, rows, level, sx, sy) {
    const path = new Path2D(), at = (x, y) => field[y * columns + x];
    for (let y = 0; y + 1 < rows; y++) for (let x = 0; x + 1 < columns; x++) {
      const corners = [[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]], cuts = [];
      corners.forEach(([ax, ay], i) => {
        const [bx, by] = corners[(i + 1) % 4], a = at(ax, ay), b = at(bx, by);
        if ((a >= level) !== (b >= level)) {
          const part = (level - a) / (b - a);
          cuts.push([(ax + part * (bx - ax) + 0.5) * sx, (ay + part * (by - ay) + 0.5) * sy]);
        }
      });
      for (let i = 0; i + 1 < cuts.length; i += 2) { path.moveTo(...cuts[i]); path.lineTo(...cuts[i + 1]); }
    }
    return path;
  }
  function drawBoxes(pen, width, height, ratio, heat, boxes) {
    const order = heat.map((t, i) => [t, i]).filter(([t]) => t > 0.08).sort((a, b) => a[0] - b[0]).slice(-8);
    for (const [t, i] of order) {
      const [x0, y0, x1, y1] = boxes[i].map((value, k) => (value / 1000) * (k % 2 ? height : width));
      pen.fillStyle = css(colour(t, 0.3 * t)); pen.fillRect(x0, y0, x1 - x0, y1 - y0);
      for (const [style, line] of [[`rgba(0,0,0,${0.3 + 0.45 * t})`, 2.5 + 2.5 * t], [css(colour(t, 0.4 + 0.6 * t)), 1 + 2 * t]]) {
        const half = (line * ratio) / 2;
        pen.strokeStyle = style; pen.lineWidth = line * ratio;
        pen.strokeRect(x0 + half, y0 + half, Math.max(1, x1 - x0 - 2 * half), Math.max(1, y1 - y0 - 2 * half));
      }
    }
  }
  function drawStrip(pen, width, height, heat) {
    const step = width / heat.length, tall = height * 0.3;
    heat.forEach((t, i) => {
      if (t <= 0.02) return;
      pen.fillStyle = css(colour(t, 0.95)); pen.fillRect(i * step, height - t * tall, Math.max(1, step - 1), t * tall);
    });
  }
  function glow(canvas, number, row, strongest) {
    const [pen, width, height, ratio] = prepared(canvas), heat = heats(weights(number, row), strongest);
    const layout = layoutOf(canvas.dataset.picture);
    if (layout.kind === "boxes") return drawBoxes(pen, width, height, ratio, heat, layout.boxes);
    if (layout.kind === "unknown") return drawStrip(pen, width, height, heat);
    const long = Math.max(width, height), columns = Math.round((FIELD * width) / long), rows = Math.round((FIELD * height) / long);
    drawField(pen, width, height, ratio, interpolated(heat, layout.grids, columns, rows), columns, rows);
  }
  function outlineRegion(canvas, region) {
    const [pen, width, height, ratio] = prepared(canvas), [x0, y0, x1, y1] = boxOf(layoutOf(canvas.dataset.picture), region);
    for (const [style, line] of [["rgba(0,0,0,.75)", 4], ["rgba(255,255,255,.95)", 2]]) {
      pen.strokeStyle = style; pen.lineWidth = line * ratio;
      pen.strokeRect(x0 * width + 2 * ratio, y0 * height + 2 * ratio, (x1 - x0) * width - 4 * ratio, (y1 - y0) * height - 4 * ratio);
    }
  }
  function boxOf(layout, region) {
    if (layout.kind === "boxes") return layout.boxes[region].map((value) => value / 1000);
    if (layout.kind === "unknown") return [region / layout.count, 0.7, (region + 1) / layout.count, 1];
    const [start, r, c] = layout.grids.find(([first, rows, columns]) => region < first + rows * columns);
    const row = Math.floor((region - start) / c), column = (region - start) % c;
    return [column / c, row / r, (column + 1) / c, (row + 1) / r];
  }
  function regionAt(layout, x, y) {
    if (layout.kind === "unknown") return y > 0.6 ? Math.min(layout.count - 1, Math.floor(x * layout.count)) : -1;
    if (layout.kind === "grid") {
      const [start, r, c] = layout.grids[0];
      return start + Math.min(r - 1, Math.floor(y * r)) * c + Math.min(c - 1, Math.floor(x * c));
    }
    const inside = layout.boxes.map((box, i) => [box, i]).filter(([b]) => b[0] <= 1000 * x && 1000 * x <= b[2] && b[1] <= 1000 * y && 1000 * y <= b[3]);
    const area = ([b]) => (b[2] - b[0]) * (b[3] - b[1]);
    return inside.length ? inside.reduce((best, next) => (area(next) < area(best) ? next : best))[1] : -1;
  }
  const percent = (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;
  function whereabouts(layout, region) {
    if (layout.kind === "boxes") return `box ${region + 1} of ${layout.boxes.length}`;
    if (layout.kind === "unknown") return `region ${region + 1} of ${layout.count}`;
    const [start, , c] = layout.grids.find(([first, rows, columns]) => region < first + rows * columns);
    return `row ${Math.floor((region - start) / c) + 1}, column ${((region - start) % c) + 1}`;
  }

  class Query {
    constructor(article) {
      this.canvases = [...article.querySelectorAll("canvas")];
      this.sentences = [...article.querySelectorAll(".sentence[data-pair]")];
      this.status = article.querySelector(".status");
      this.asksWithPicture = article.classList.contains("i2t");
      this.pinned = null;
      for (const sentence of this.sentences) this.wireSentence(sentence);
      for (const canvas of this.canvases) if (canvas.dataset.pair) this.wireCanvas(canvas);
      article.addEventListener("keydown", (event) => { if (event.key === "Escape") { this.pin(null); this.rest(); } });
    }
    wireSentence(sentence) {
      const words = [...sentence.querySelectorAll(".word")];
      const first = words.find((word) => !word.classList.contains("small")) || words[0];
      if (first) first.tabIndex = 0;
      words.forEach((word, i) => {
        word.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") this.show(word); });
        word.addEventListener("pointerleave", () => this.rest());
        word.addEventListener("focus", () => { if (word.matches(":focus-visible")) this.show(word); });
        word.addEventListener("blur", () => this.rest());
        word.addEventListener("click", () => { this.pin(this.pinned === word ? null : word); this.show(word); if (!this.pinned) this.rest(); });
        word.addEventListener("keydown", (event) => {
          const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
          const next = event.key === "Home" ? words[0] : event.key === "End" ? words[words.length - 1] : step && words[i + step];
          if (!next) return;
          event.preventDefault();
          words.forEach((other) => { other.tabIndex = other === next ? 0 : -1; });
          next.focus();
        });
      });
    }
    wireCanvas(canvas) {
      const layout = layoutOf(canvas.dataset.picture);
      const at = (event) => {
        const box = canvas.getBoundingClientRect();
        return regionAt(layout, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
      };
      canvas.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") this.meet(canvas, at(event)); });
      canvas.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") this.rest(); });
      canvas.addEventListener("click", (event) => { this.pin(null); this.meet(canvas, at(event)); });
      canvas.addEventListener("blur", () => this.rest());
      let region = 0;
      canvas.addEventListener("keydown", (event) => {
        const grid = layout.kind === "grid" ? layout.grids[0][2] : 1;
        const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: grid, ArrowUp: -grid }[event.key];
        if (!step) return;
        event.preventDefault();
        const count = layout.kind === "grid" ? layout.grids[0][1] * grid : layout.kind === "boxes" ? layout.boxes.length : layout.count;
        if (region + step >= 0 && region + step < count) region += step;
        this.meet(canvas, region);
      });
    }
    pairs(sentence) { // which pair each canvas shows for a word of this sentence
      if (this.asksWithPicture) return [[this.canvases[0], Number(sentence.dataset.pair)]];
      return this.canvases.filter((canvas) => canvas.dataset.pair).map((canvas) => [canvas, Number(canvas.dataset.pair)]);
    }
    pin(word) {
      if (this.pinned) this.pinned.setAttribute("aria-pressed", "false");
      this.pinned = word;
      if (word) word.setAttribute("aria-pressed", "true");
    }
    clear() {
      for (const sentence of this.sentences) for (const word of sentence.querySelectorAll(".word")) {
        word.classList.remove("shown");
        word.style.removeProperty("--m");
      }
    }
    rest() {
      if (this.pinned) return this.show(this.pinned);
      this.clear();
      this.canvases.forEach((canvas) => prepared(canvas));
      this.status.textContent = "";
    }
    show(word) {
      const sentence = word.closest(".sentence"), row = Number(word.dataset.row), pairs = this.pairs(sentence);
      const strongest = Math.max(...pairs.map(([, number]) => data.pairs[number].peaks[row]));
      this.clear();
      word.classList.add("shown");
      for (const [canvas, number] of pairs) glow(canvas, number, row, strongest);
      const number = Number(sentence.dataset.pair), pair = data.pairs[number], values = weights(number, row);
      const region = values.indexOf(Math.max(...values));
      const where = whereabouts(layoutOf(pair.picture), region), lift = pair.peaks[row] * values.length;
      const place = this.asksWithPicture ? "" : ` in picture ${this.canvases.find((canvas) => Number(canvas.dataset.pair) === number).closest("li").value}`;
      this.status.textContent = `“${word.textContent}” looks most at ${where}${place}: ${percent(pair.peaks[row])} of its weight, ${lift.toFixed(1)} times an even share. It has ${percent(pair.significance[row])} of the score’s weight.`;
    }
    meet(canvas, region) {
      if (region < 0) return this.rest();
      this.clear();
      this.canvases.forEach((other) => { if (other !== canvas) prepared(other); });
      outlineRegion(canvas, region);
      let best = null, most = 0;
      for (const sentence of this.sentences) {
        const number = this.asksWithPicture ? Number(sentence.dataset.pair) : Number(canvas.dataset.pair);
        for (const word of sentence.querySelectorAll(".word")) {
          const row = Number(word.dataset.row), heat = heats(weights(number, row), data.pairs[number].peaks[row])[region];
          if (heat > 0.1) word.style.setProperty("--m", heat.toFixed(3));
          if (heat > most) [best, most] = [word, heat];
        }
        if (!this.asksWithPicture) this.bars(sentence, number);
      }
      const where = whereabouts(layoutOf(canvas.dataset.picture), region);
      this.status.textContent = best && most > 0.1 ? `${where} was met most by “${best.textContent}”.` : `${where}: no word gave it more than an even share.`;
    }
    bars(sentence, number) { // a sentence has another significance with each picture
      const words = [...sentence.querySelectorAll(".word")], shares = words.map((word) => data.pairs[number].significance[Number(word.dataset.row)]);
      const most = Math.max(...shares, 1e-9);
      words.forEach((word, i) => word.querySelector(".bar").style.setProperty("--s", (shares[i] / most).toFixed(3)));
    }
  }
  document.querySelectorAll("article.query").forEach((article) => new Query(article));

  const tabs = [...document.querySelectorAll('[role="tab"]')];
  const choose = (tab) => tabs.forEach((other) => {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = other !== tab;
  });
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const next = step && tabs[(i + step + tabs.length) % tabs.length];
      if (next) { event.preventDefault(); choose(next); next.focus(); }
    });
  });
  if (tabs.length) choose(tabs[0]);
})();

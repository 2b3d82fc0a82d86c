"use strict";
// Point at a word, and the regions that met it glow on every picture.
const data = JSON.parse(document.getElementById("data").textContent);
const canvases = [...document.querySelectorAll("canvas")];
let pinned = null;

for (const bar of document.querySelectorAll(".bar i")) bar.style.width = `${100 * Number(bar.dataset.share)}%`;

/** One word's weights as a small picture, a pixel a cell: transparent, amber, white-hot. */
function cells(weights, grid, most) {
  const [start, rows, columns] = grid;
  const small = document.createElement("canvas");
  small.width = columns;
  small.height = rows;
  const pixels = small.getContext("2d").createImageData(columns, rows);
  for (let cell = 0; cell < rows * columns; cell++) {
    const share = Math.min(1, weights[start + cell] / most);
    pixels.data.set([255, 176 + 79 * share * share, 255 * Math.max(0, 2 * share - 1), 185 * share], 4 * cell);
  }
  small.getContext("2d").putImageData(pixels, 0, 0);
  return small;
}

function show(row) {
  for (const canvas of canvases) {
    const pen = canvas.getContext("2d"), hit = data.hits[Number(canvas.dataset.hit)];
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (row === null || !hit) continue;
    const weights = hit.weights[row], most = Math.max(...weights);
    pen.fillStyle = "rgba(0, 0, 0, .45)";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.globalCompositeOperation = "lighter";
    pen.imageSmoothingQuality = "high";
    for (const grid of data.grids) pen.drawImage(cells(weights, grid, most), 0, 0, canvas.width, canvas.height);
    pen.globalCompositeOperation = "source-over";
    if (data.grids.length || !data.boxes) continue;
    const strongest = weights.map((weight, region) => [weight, region]).sort((a, b) => b[0] - a[0]).slice(0, 3);
    for (const [weight, region] of strongest) {
      const [x0, y0, x1, y1] = data.boxes[region];
      pen.strokeStyle = `rgba(255, 190, 40, ${weight / most})`;
      pen.lineWidth = 3;
      pen.strokeRect(x0 * canvas.width, y0 * canvas.height, (x1 - x0) * canvas.width, (y1 - y0) * canvas.height);
    }
  }
}

for (const word of document.querySelectorAll(".word")) {
  const row = Number(word.dataset.row);
  word.addEventListener("mouseenter", () => show(row));
  word.addEventListener("focus", () => show(row));
  word.addEventListener("mouseleave", () => show(pinned));
  word.addEventListener("blur", () => show(pinned));
  word.addEventListener("click", () => {
    pinned = pinned === row ? null : row;
    for (const other of document.querySelectorAll(".word"))
      other.setAttribute("aria-pressed", String(Number(other.dataset.row) === pinned));
    show(pinned ?? row);
  });
}

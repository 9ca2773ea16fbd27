// The floorplan: crossbars in blocks of nested groups, on one canvas, and a dialog for one of them.

const plan = JSON.parse(document.getElementById("floorplan-data").textContent);
const floor = document.getElementById("floor");
const pointed = document.getElementById("pointed");
const dialog = document.getElementById("crossbar");
const VIRIDIS = [[68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140], [40, 174, 128],
  [94, 201, 98], [173, 220, 48], [253, 231, 37]];

async function unpack(text, type) {
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new type(await new Response(stream).arrayBuffer());
}

function ramp(share) {
  const place = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(place), VIRIDIS.length - 2);
  return VIRIDIS[low].map((value, channel) => Math.round(value + (VIRIDIS[low + 1][channel] - value) * (place - low)));
}
const rgb = (channels) => `rgb(${channels.join()})`;
// A colour of the style sheet as canvases understand it, for the theme that is shown.
function style(name) {
  pointed.style.outlineColor = `var(${name})`;
  return getComputedStyle(pointed).outlineColor;
}
const percent = (share) => `${(100 * share).toPrecision(3)} %`;
const crossbars = { count: plan.layers.reduce((sum, layer) => sum + layer.crossbars, 0) };
const layerOf = [];  // layer of each crossbar
plan.layers.forEach((layer, number) => { for (let i = 0; i < layer.crossbars; i++) layerOf.push(number); });

const most = (values) => values.reduce((high, value) => Math.max(high, value), 1);

// What can be coloured by: the value of a crossbar, the ends of the scale, and how they read.
const colours = {
  bits: { value: (i) => crossbars.adc_bits[i], high: () => most(crossbars.adc_bits), text: (x) => `${x} bit` },
  mean: { value: (i) => crossbars.mean_bits[i], high: () => most(crossbars.mean_bits), text: (x) => `${x.toFixed(2)} bit` },
  density: { value: (i) => crossbars.nonzeros[i] / crossbars.weights[i], high: () => 1, text: percent },
  utilisation: { value: (i) => crossbars.weights[i] / plan.layers[layerOf[i]].capacity, high: () => 1, text: percent },
  slice: { value: (i) => crossbars.slice[i], high: () => most(crossbars.slice), text: (x) => `slice ${x}` },
};

// Near a square, wider than high, as blocks of a chip are; the last row is full if that is not much wider.
const wide = (count) => {
  const root = Math.ceil(Math.sqrt(count));
  for (let width = root; width <= 2 * root; width++) if (count % width === 0) return width;
  return root;
};
// The groups that a crossbar is in, innermost first: how many parts across and down, and crossbars of one part.
const nested = [];
let perBlock = 1;
for (const count of plan.groups) {
  nested.push({ across: wide(count), down: Math.ceil(count / wide(count)), part: perBlock, parts: count });
  perBlock *= count;
}
let chosen = 0, layout = null;

function arrange() {
  const room = floor.parentElement.clientWidth - 28, blocks = Math.max(1, Math.ceil(crossbars.count / perBlock));
  let best = null;
  for (let side = 40; side >= 3; side--) {  // the largest crossbars whose blocks fit into a picture of some 480 pixels
    const gap = side > 20 ? 6 : side > 9 ? 3 : side > 4 ? 2 : 1;
    const pitches = [[side, side]];  // from one part to the next, across and down; a gap follows every group
    for (const { across, down } of nested) {
      const [x, y] = pitches.at(-1);
      pitches.push([across * x + gap, down * y + gap]);
    }
    const [width, height] = pitches.pop().map((inner) => inner + 2 * gap);
    const across = Math.max(1, Math.floor(room / width));
    best = { side, gap, width, height, pitches, across, down: Math.ceil(blocks / across), blocks };
    if (width <= room && best.down * height <= 480) break;
  }
  return best;
}

// Top left corner of a crossbar, and of its block.
function place(number) {
  const { gap, width, height, pitches, across } = layout;
  const block = Math.floor(number / perBlock), left = (block % across) * width, top = Math.floor(block / across) * height;
  let x = left + 2 * gap, y = top + 2 * gap;
  nested.forEach((group, level) => {
    const part = Math.floor(number / group.part) % group.parts;
    x += (part % group.across) * pitches[level][0];
    y += Math.floor(part / group.across) * pitches[level][1];
  });
  return { left, top, x, y };
}

function fit(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = width * scale;
  canvas.height = height * scale;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return context;
}

function draw() {
  layout = arrange();
  const { side, width, height, gap } = layout;
  const colour = colours[document.getElementById("colour").value], high = colour.high();
  const only = document.getElementById("layer").value;
  const context = fit(floor, layout.across * width, layout.down * height);
  context.strokeStyle = style("--line");
  for (let number = 0; number < layout.blocks; number++) {
    const { left, top } = place(number * perBlock);
    context.strokeRect(left + gap / 2, top + gap / 2, width - gap, height - gap);
  }
  context.fillStyle = style("--raised");
  for (let number = 0; number < layout.blocks * perBlock; number++) {
    const { x, y } = place(number);
    const inside = Math.max(side - 1, side > 3 ? 1 : side);
    if (number < crossbars.count) {
      context.globalAlpha = only === "" || layerOf[number] === Number(only) ? 1 : 0.13;
      context.fillStyle = rgb(ramp(colour.value(number) / high));
    } else {
      context.globalAlpha = 1;
      context.fillStyle = style("--raised");
    }
    context.fillRect(x, y, inside, inside);
  }
  context.globalAlpha = 1;
  const { x, y } = place(chosen);
  context.lineWidth = 2;
  context.strokeStyle = style("--fg");
  if (document.activeElement === floor) context.strokeRect(x - 1, y - 1, side + 1, side + 1);
  const bar = document.getElementById("ramp").getContext("2d");
  for (let column = 0; column < 144; column++) {
    bar.fillStyle = rgb(ramp(column / 143));
    bar.fillRect(column, 0, 1, 1);
  }
  document.getElementById("low").textContent = colour.text(0);
  document.getElementById("high").textContent = colour.text(high);
}

const name = (i) => `${crossbars.row_tile[i]},${crossbars.column_tile[i]},${crossbars.slice[i]},${plan.polarities[crossbars.polarity[i]]}`;

function describe(i) {
  return `${plan.layers[layerOf[i]].name} ${name(i)}: ${crossbars.adc_bits[i]} bit at most, mean ${crossbars.mean_bits[i].toFixed(2)}; ` +
    `${percent(colours.density.value(i))} of cells above 0; ${percent(colours.utilisation.value(i))} utilised`;
}

function point(i) {
  chosen = i;
  pointed.textContent = describe(i);
  draw();
}

function at(event) {
  const box = floor.getBoundingClientRect();
  const x = event.clientX - box.left, y = event.clientY - box.top;
  const { gap, width, height, pitches, across } = layout;
  const column = Math.floor(x / width), row = Math.floor(y / height);
  let dx = x - column * width - 2 * gap, dy = y - row * height - 2 * gap, number = (row * across + column) * perBlock;
  for (let level = nested.length - 1; level >= 0; level--) {
    const group = nested[level], [pitchX, pitchY] = pitches[level];
    const partX = Math.floor(dx / pitchX), partY = Math.floor(dy / pitchY);
    const part = partY * group.across + partX;
    if (column >= across || partX < 0 || partY < 0 || partX >= group.across || part >= group.parts) return null;
    number += part * group.part;
    dx -= partX * pitchX;
    dy -= partY * pitchY;
  }
  return number < crossbars.count ? number : null;
}

// Rows of crossbars go on through the groups beside each other, so that an arrow goes where it points.
function neighbour(i, dx, dy) {
  const from = place(i);
  let best = i, distance = Infinity;
  for (let j = 0; j < crossbars.count; j++) {
    const to = place(j), x = (to.x - from.x) * dx + (to.y - from.y) * dy;
    if (x <= 0) continue;
    const far = x + 4 * Math.abs((to.x - from.x) * dy + (to.y - from.y) * dx);
    if (far < distance) [best, distance] = [j, far];
  }
  return best;
}

async function open(i) {
  const layer = plan.layers[layerOf[i]], cells = plan.cells[i];
  document.getElementById("crossbar-head").textContent = `${layer.name}, crossbar ${name(i)}`;
  const facts = [
    ["Place", `row tile ${crossbars.row_tile[i]}, column tile ${crossbars.column_tile[i]}, slice ${crossbars.slice[i]}, sign ${plan.polarities[crossbars.polarity[i]]}`],
    ["In use", `${crossbars.rows[i]} wordlines × ${crossbars.columns[i]} bitlines, ${percent(colours.utilisation.value(i))} of the cells`],
    ["Cells above 0", `${crossbars.nonzeros[i]} of ${crossbars.weights[i]}, ${percent(colours.density.value(i))}`],
    ["ADC", `${crossbars.adc_bits[i]} bit at most, mean ${crossbars.mean_bits[i].toFixed(2)} over its columns`],
  ];
  const list = document.getElementById("crossbar-facts");
  list.replaceChildren(...facts.flatMap((pair) => pair.map((text, part) => {
    const element = document.createElement(part ? "dd" : "dt");
    element.textContent = text;
    return element;
  })));
  document.getElementById("crossbar-cells").hidden = !cells;
  document.getElementById("crossbar-elsewhere").textContent = cells ? "" :
    `Cells of this crossbar are not in this file. 'bsc inspect PLAN --layer ${layer.name} --crossbar ${name(i)}' shows its columns; 'bsc report --html-size MB' makes room for more.`;
  if (!dialog.open) dialog.showModal();
  if (!cells) return;
  const [levels, bits, steps] = await Promise.all([cells.levels, cells.bits, cells.steps].map((text) => unpack(text, Uint8Array)));
  show(layer.tops[crossbars.slice[i]], levels, bits, steps, crossbars.rows[i], crossbars.columns[i]);
}

function show(top, levels, bits, steps, rows, columns) {
  const grid = document.getElementById("cell-levels"), bars = document.getElementById("column-bits");
  grid.width = columns;
  grid.height = rows;
  document.getElementById("crossbar-cells").style.width = `min(100%, ${(58 * columns) / rows}vh)`;
  const image = new ImageData(columns, rows);
  levels.forEach((level, cell) => image.data.set([...ramp(level / top), 255], 4 * cell));
  grid.getContext("2d").putImageData(image, 0, 0);
  const largest = most(bits), unit = 8;
  bars.width = columns * unit;
  bars.height = 96;
  bars.style.height = "3.5rem";
  const context = bars.getContext("2d");
  bits.forEach((count, column) => {
    context.fillStyle = style("--adc");
    context.fillRect(column * unit + 1, 96 - (count / largest) * 92, unit - 2, (count / largest) * 92);
  });
  const line = document.getElementById("cell");
  line.textContent = `Above: bits of every column, up to ${largest}. Below: levels 0 to ${top}, dark is 0.`;
  grid.onpointermove = (event) => {
    const box = grid.getBoundingClientRect();
    const column = Math.min(columns - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * columns)));
    const row = Math.min(rows - 1, Math.max(0, Math.floor((event.clientY - box.top) / box.height * rows)));
    line.textContent = `wordline ${row}, bitline ${column}: level ${levels[row * columns + column]}; the column is read at ${bits[column]} bit, step ${steps[column]}`;
  };
}

async function start() {
  for (const [key, { type, data }] of Object.entries(plan.arrays)) crossbars[key] = await unpack(data, globalThis[type]);
  if (!crossbars.count) return;
  draw();
  floor.addEventListener("pointermove", (event) => {
    const i = at(event);
    if (i !== null) pointed.textContent = describe(i);
  });
  floor.addEventListener("click", (event) => {
    const i = at(event);
    if (i !== null) { point(i); open(i); }
  });
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  floor.addEventListener("keydown", (event) => {
    if (event.key in arrows) point(neighbour(chosen, ...arrows[event.key]));
    else if (event.key === "Enter" || event.key === " ") open(chosen);
    else return;
    event.preventDefault();
  });
  floor.addEventListener("focus", () => point(chosen));
  floor.addEventListener("blur", draw);
  document.getElementById("colour").addEventListener("change", draw);
  document.getElementById("layer").addEventListener("change", (event) => {
    if (event.target.value !== "") point(layerOf.indexOf(Number(event.target.value)));
    draw();
  });
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  for (const event of ["theme", "resize"]) (event === "theme" ? document : window).addEventListener(event, draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  document.documentElement.dataset.ready = "yes";
}
start().catch((error) => {
  document.getElementById("trouble").hidden = false;
  throw error;
});

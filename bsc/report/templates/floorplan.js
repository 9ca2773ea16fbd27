// The floorplan: every place for a crossbar on the chips, as blocks of nested groups on one canvas, and a dialog for one.

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
const crossbars = {};  // arrays of numbers, by table number: those of the first layer's crossbars first

// Places for crossbars, called slots, are numbered through all chips. A run is the slots of a layer's copies; layers that
// share crossbars have the same slots.
const runs = [];
let tableEnd = 0;
plan.layers.forEach((layer, number) => {
  const end = layer.first_slot + layer.copies * layer.crossbars_per_copy;
  if (end > layer.first_slot) runs.push({ layer, number, end, table: tableEnd });
  tableEnd += layer.crossbars;
});
runs.sort((a, b) => a.layer.first_slot - b.layer.first_slot || a.number - b.number);
runs.forEach((run, i) => {
  const before = runs[i - 1];
  run.together = before?.layer.first_slot === run.layer.first_slot ? before.together : [];
  run.together.push(run);
});
const taken = runs.reduce((end, run) => Math.max(end, run.end), 0);

// The number in the tables of a run's crossbar; null for one that holds a unit column alone, or nothing of the layer.
function tableNumber(run, slot) {
  const { first_slot, crossbars_per_copy, shared } = run.layer;
  const inCopy = (slot - first_slot) % crossbars_per_copy, i = shared ? shared.indexOf(inCopy) : inCopy;
  return i >= 0 && i < run.layer.crossbars ? run.table + i : null;
}
// The run that a slot belongs to, or null where it is empty. Of those that share it, the one of the chosen layer, else
// the first that has cells there.
function runAt(slot, only = document.getElementById("layer").value) {
  let low = 0, high = runs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (runs[middle].layer.first_slot <= slot) low = middle + 1; else high = middle;
  }
  if (!low || slot >= runs[low - 1].end) return null;
  const { together } = runs[low - 1];
  if (together.length === 1) return together[0];
  return together.find((run) => only !== "" && run.number === Number(only))
    ?? together.find((run) => tableNumber(run, slot) !== null) ?? together[0];
}

const most = (values) => values.reduce((high, value) => Math.max(high, value), 1);

// What else than layers can be coloured by: the value of a crossbar, the ends of the scale, and how they read.
const colours = {
  bits: { value: (i) => crossbars.adc_bits[i], high: () => most(crossbars.adc_bits), text: (x) => `${x} bit` },
  mean: { value: (i) => crossbars.mean_bits[i], high: () => most(crossbars.mean_bits), text: (x) => `${x.toFixed(2)} bit` },
  density: { value: (i) => crossbars.nonzeros[i] / crossbars.weights[i], high: () => 1, text: percent },
  utilisation: { value: (i, layer) => crossbars.weights[i] / layer.capacity, high: () => 1, text: percent },
  slice: { value: (i) => crossbars.slice[i], high: () => most(crossbars.slice), text: (x) => `slice ${x}` },
};
const LAYER_COLOURS = 12;  // --l0 and on, of the style sheet

// Near a square, wider than high, as blocks of a chip are; the last row is full if that is not much wider.
const wide = (count) => {
  const root = Math.ceil(Math.sqrt(count));
  for (let width = root; width <= 2 * root; width++) if (count % width === 0) return width;
  return root;
};
// Tiles are what chips consist of. The groups in one that a crossbar is in, innermost first: how many parts across and
// down, and crossbars of one part.
const [tileLevel, chipLevel] = plan.levels.slice(-2);
const nested = [];
let perTile = 1;
for (const { count } of plan.levels.slice(0, -2)) {
  nested.push({ across: wide(count), down: Math.ceil(count / wide(count)), part: perTile, parts: count });
  perTile *= count;
}
const tilesPerChip = tileLevel.count;
const tiles = Math.max(1, Math.ceil(taken / perTile)), chips = Math.ceil(tiles / tilesPerChip);
const MOST_SLOTS = 300000, MOST_PIXELS = 6000, LABEL = 12, HEAD = 20;
let chosen = 0, layout = null, picture = null;

// How it looks with crossbars of so many pixels, or with whole tiles of so many.
function laidOut(side, room, whole) {
  const gap = side > 20 ? 6 : side > 9 ? 3 : side > 4 ? 2 : 1;
  const pitches = [[side, side]];  // from one part to the next, across and down; a gap follows every group
  if (!whole) for (const { across, down } of nested) {
    const [x, y] = pitches.at(-1);
    pitches.push([across * x + gap, down * y + gap]);
  }
  const [inX, inY] = pitches.pop();
  const framed = !whole && nested.length > 0, edge = framed ? 2 * gap : 0;
  const label = framed && inX >= 30 && inY >= 26 ? LABEL : 0;
  const width = inX + edge, height = inY + edge + label;
  const along = Math.min(tilesPerChip, tiles), fitting = Math.max(1, Math.min(Math.floor((room - 10) / width), along));
  const across = Math.ceil(along / Math.ceil(along / fitting));  // as many rows, the last one as full as can be
  const rows = (count) => Math.ceil(count / across), last = tiles - (chips - 1) * tilesPerChip;
  const chipHeight = HEAD + rows(tilesPerChip) * height + 12;
  const all = (chips - 1) * chipHeight + HEAD + rows(last) * height + 12;
  return { side, gap, edge, label, width, height, pitches, across, chipHeight, whole, framed, all, unit: whole ? width : side };
}

function arrange() {
  const room = floor.parentElement.clientWidth - 28;
  if (tiles * perTile <= MOST_SLOTS) {
    for (let side = 40; side >= 1; side--) {  // the largest crossbars whose chips fit into a picture that is not too high
      const found = laidOut(side, room, false);
      if (found.width + 10 <= room && found.all <= Math.min(620 + 180 * (chips - 1), 1800)) return found;
    }
  }
  for (let side = 16; side > 3; side--) {
    const found = laidOut(side, room, true);
    if (found.all <= Math.min(Math.max(1600, 56 * chips), MOST_PIXELS)) return found;
  }
  return laidOut(3, room, true);
}

// Top left corner of a tile, its label included: rows of tiles go to the right and back in turn.
function tilePlace(tile) {
  const { width, height, across, chipHeight } = layout;
  const chip = Math.floor(tile / tilesPerChip), within = tile % tilesPerChip;
  const row = Math.floor(within / across), along = within % across;
  return { left: 5 + (row % 2 ? across - 1 - along : along) * width, top: chip * chipHeight + HEAD + row * height };
}

// Top left corner of a crossbar, or of its tile where tiles are all that is drawn.
function place(slot) {
  const { left, top } = tilePlace(Math.floor(slot / perTile));
  const { edge, label, pitches, gap, whole } = layout;
  if (whole) return { x: left, y: top };
  let x = left + (edge ? edge - gap / 2 : 0), y = top + label + (edge ? edge - gap / 2 : 0);
  nested.forEach((group, level) => {
    const part = Math.floor(slot / group.part) % group.parts;
    x += (part % group.across) * pitches[level][0];
    y += Math.floor(part / group.across) * pitches[level][1];
  });
  return { x, y };
}

// The slot at a point of the picture, the first one of a tile where tiles are all that is drawn; null beside them.
function slotAt(x, y) {
  const { width, height, across, chipHeight, edge, label, pitches, gap, whole } = layout;
  const chip = Math.min(Math.floor(y / chipHeight), chips - 1);
  const column = Math.floor((x - 5) / width), row = Math.floor((y - chip * chipHeight - HEAD) / height);
  if (column < 0 || column >= across || row < 0 || chip < 0) return null;
  const within = row * across + (row % 2 ? across - 1 - column : column), tile = chip * tilesPerChip + within;
  if (within >= tilesPerChip || tile >= tiles) return null;
  let slot = tile * perTile;
  if (whole) return slot;
  const { left, top } = tilePlace(tile), inset = edge ? edge - gap / 2 : 0;
  let dx = x - left - inset, dy = y - top - label - inset;
  for (let level = nested.length - 1; level >= 0; level--) {
    const group = nested[level], [pitchX, pitchY] = pitches[level];
    const partX = Math.floor(dx / pitchX), partY = Math.floor(dy / pitchY), part = partY * group.across + partX;
    if (partX < 0 || partY < 0 || partX >= group.across || part >= group.parts) return null;
    slot += part * group.part;
    dx -= partX * pitchX;
    dy -= partY * pitchY;
  }
  return slot;
}

function fit(canvas, width, height) {
  const scale = Math.min(window.devicePixelRatio || 1, 12000 / height);
  canvas.width = width * scale;
  canvas.height = height * scale;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return context;
}

// What gives every slot its colour: a style that canvases know, and how opaque it is.
function painter() {
  const by = document.getElementById("colour").value, only = document.getElementById("layer").value;
  const layers = Array.from({ length: LAYER_COLOURS }, (_, number) => style(`--l${number}`));
  const empty = style("--empty"), alone = style("--muted");
  const colour = colours[by], high = colour?.high();
  const steps = Array.from({ length: 256 }, (_, step) => rgb(ramp(step / 255)));
  return (slot) => {
    const run = runAt(slot, only);
    if (!run) return [empty, 1];
    const shown = only === "" || run.number === Number(only) ? 1 : 0.13;
    if (!colour) return [layers[run.number % LAYER_COLOURS], shown];
    const i = tableNumber(run, slot);
    return [i === null ? alone : steps[Math.round(255 * Math.min(1, colour.value(i, run.layer) / high))], shown];
  };
}

function draw() {
  layout = arrange();
  const { width, height, label, whole, framed, across, side, gap } = layout;
  const allHeight = Math.min(layout.all, MOST_PIXELS), allWidth = across * width + 10;
  const context = fit(floor, allWidth, allHeight), paint = painter();
  const [line, muted] = [style("--line"), style("--muted")];
  let drawn = tiles;
  for (let tile = 0; tile < tiles; tile++) {
    const { left, top } = tilePlace(tile), within = tile % tilesPerChip;
    if (within === 0) {
      if (top > allHeight) { drawn = tile; break; }
      frameChip(context, tile, top, allWidth, muted);
    }
    if (framed) {
      context.strokeStyle = line;
      context.strokeRect(left + gap / 2, top + gap / 2, width - gap, height - gap);
    }
    if (label) {
      context.fillStyle = muted;
      context.font = "9px system-ui, sans-serif";
      const text = `${tileLevel.name} ${within}`;
      context.fillText(context.measureText(text).width <= width - 2 * gap ? text : within, left + gap + 1, top + gap / 2 + 9.5);
    }
    const inside = Math.max(whole ? side - 1 : side - 1, side > 3 ? 1 : side);
    const step = whole ? Math.max(perTile, 1) : 1;
    for (let slot = tile * perTile; slot < (tile + 1) * perTile; slot += step) {
      const { x, y } = place(slot);
      [context.fillStyle, context.globalAlpha] = paint(whole ? middle(tile) : slot);
      context.fillRect(x, y, inside, inside);
    }
    context.globalAlpha = 1;
  }
  const note = document.getElementById("undrawn");
  note.hidden = drawn === tiles;
  note.textContent = `${Math.ceil(drawn / tilesPerChip)} of ${chips} ${chipLevel.plural} are drawn.`;
  picture = document.createElement("canvas");
  [picture.width, picture.height] = [floor.width, floor.height];
  picture.getContext("2d").drawImage(floor, 0, 0);
  scale();
  mark();
}

// A slot in use in the middle of those of a tile that are, to stand for all of them.
function middle(tile) {
  const first = tile * perTile, end = Math.min(first + perTile, taken);
  return first + Math.floor((end - first) / 2);
}

function frameChip(context, tile, top, width, colour) {
  const chip = tile / tilesPerChip, used = Math.min(tiles - tile, tilesPerChip), rows = Math.ceil(used / layout.across);
  context.strokeStyle = colour;
  context.strokeRect(1.5, top - HEAD + 2.5, width - 3, HEAD + rows * layout.height + 4);
  context.fillStyle = colour;
  context.font = "600 11px system-ui, sans-serif";
  const long = `${chipLevel.name} ${chip}: ${used} of ${tilesPerChip} ${tileLevel.plural}`;
  context.fillText(context.measureText(long).width <= width - 16 ? long : `${chip}`, 7, top - 4);
}

// The chosen crossbar, over the picture that was drawn.
function mark() {
  const context = floor.getContext("2d");
  context.save();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.drawImage(picture, 0, 0);
  context.restore();
  if (document.activeElement !== floor) return;
  const { x, y } = place(chosen);
  context.lineWidth = 2;
  context.strokeStyle = style("--fg");
  context.strokeRect(x - 1, y - 1, layout.unit + 1, layout.unit + 1);
  context.lineWidth = 1;
}

function scale() {
  const colour = colours[document.getElementById("colour").value];
  document.getElementById("scale").hidden = !colour;
  document.getElementById("layer-colours").hidden = Boolean(colour);
  if (!colour) return;
  const bar = document.getElementById("ramp").getContext("2d");
  for (let column = 0; column < 144; column++) {
    bar.fillStyle = rgb(ramp(column / 143));
    bar.fillRect(column, 0, 1, 1);
  }
  document.getElementById("low").textContent = colour.text(0);
  document.getElementById("high").textContent = colour.text(colour.high());
}

const name = (i) => `${crossbars.row_tile[i]},${crossbars.column_tile[i]},${crossbars.slice[i]},${plan.polarities[crossbars.polarity[i]]}`;

// Numbers of all levels, the chip first, each counted within the one before.
function where(slot, levels = plan.levels.length) {
  const words = [];
  plan.levels.forEach(({ name, count }) => {
    const number = count ? slot % count : slot;
    slot = Math.floor(slot / (count || 1));
    words.unshift(`${name} ${number}`);
  });
  return words.slice(0, levels).join(", ");
}

const sharedWith = (run) => run.together.length === 1 ? "" :
  `; shared with ${run.together.filter((each) => each !== run).map((each) => each.layer.name).join(", ")}`;
const copyOf = (run, slot) => run.layer.copies === 1 ? "" :
  `, copy ${Math.floor((slot - run.layer.first_slot) / run.layer.crossbars_per_copy) + 1} of ${run.layer.copies}`;

function describe(slot) {
  if (layout.whole) return describeTile(slot);
  const run = runAt(slot);
  if (!run) return `empty: ${where(slot)}`;
  const i = tableNumber(run, slot);
  const which = `${run.layer.name} ${i === null ? (run.layer.shared ? "without cells" : "unit column") : name(i)}${copyOf(run, slot)}`;
  const numbers = i === null ? "" : `${crossbars.adc_bits[i]} bit at most, mean ${crossbars.mean_bits[i].toFixed(2)}; ` +
    `${percent(colours.density.value(i))} of cells above 0; ${percent(colours.utilisation.value(i, run.layer))} utilised; `;
  return `${which}: ${numbers}${where(slot)}${sharedWith(run)}`;
}

function describeTile(first) {
  const here = runs.filter((run) => run.layer.first_slot < first + perTile && run.end > first);
  return `${where(first, 2)}: ${here.map((run) => run.layer.name).join(", ") || "empty"}`;
}

function point(slot) {
  chosen = slot;
  pointed.textContent = describe(slot);
  mark();
}

function at(event) {
  const box = floor.getBoundingClientRect();
  return slotAt(event.clientX - box.left, event.clientY - box.top);
}

// The next crossbar in a direction, through whatever lies between.
function neighbour(slot, dx, dy) {
  const { x, y } = place(slot), step = Math.max(0.5, layout.unit / 2), centre = layout.unit / 2;
  for (let far = step; far < floor.clientWidth + floor.clientHeight; far += step) {
    const next = slotAt(x + centre + far * dx, y + centre + far * dy);
    if (next !== null && next !== slot) return next;
  }
  return slot;
}

async function open(slot) {
  const run = runAt(slot), i = run && tableNumber(run, slot);
  if (i === null) return;
  const layer = run.layer, cells = plan.cells[i];
  document.getElementById("crossbar-head").textContent = `${layer.name}, crossbar ${name(i)}`;
  const facts = [
    ["On the chip", `${where(slot)}${copyOf(run, slot)}${sharedWith(run)}`],
    ["In the layer", `row tile ${crossbars.row_tile[i]}, column tile ${crossbars.column_tile[i]}, slice ${crossbars.slice[i]}, sign ${plan.polarities[crossbars.polarity[i]]}`],
    ["In use", `${crossbars.rows[i]} wordlines × ${crossbars.columns[i]} bitlines, ${percent(colours.utilisation.value(i, layer))} of the cells`],
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
  if (!taken) return;
  draw();
  floor.addEventListener("pointermove", (event) => {
    const slot = at(event);
    if (slot !== null) pointed.textContent = describe(slot);
  });
  floor.addEventListener("click", (event) => {
    const slot = at(event);
    if (slot !== null) { point(slot); open(slot); }
  });
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  floor.addEventListener("keydown", (event) => {
    if (event.key in arrows) point(neighbour(chosen, ...arrows[event.key]));
    else if (event.key === "Enter" || event.key === " ") open(chosen);
    else return;
    event.preventDefault();
  });
  floor.addEventListener("focus", () => point(chosen));
  floor.addEventListener("blur", mark);
  document.getElementById("colour").addEventListener("change", draw);
  document.getElementById("layer").addEventListener("change", (event) => {
    const run = runs.find((each) => String(each.number) === event.target.value);
    draw();
    if (run) point(layout.whole ? Math.floor(run.layer.first_slot / perTile) * perTile : run.layer.first_slot);
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

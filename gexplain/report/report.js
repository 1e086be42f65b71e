// The report's table: sorted, searched and paged in the page itself. Whatever a run says is written as text alone.
(() => {
  "use strict";

  const PAGE_ROWS = 50;
  const SVG = "http://www.w3.org/2000/svg";
  const data = JSON.parse(document.getElementById("regions-data").textContent);
  const english = new Intl.NumberFormat("en");
  const number = (value) => english.format(value);

  // ---- Columns: base64 to typed arrays ----

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const u16 = (text) => new Uint16Array(bytes(text));
  const u32 = (text) => new Uint32Array(bytes(text));
  const i32 = (text) => new Int32Array(bytes(text));
  const f32 = (text) => new Float32Array(bytes(text));

  const isRegression = data.head === "regression";
  const chrom = u32(data.chrom);
  const start = u32(data.start);
  const end = u32(data.end);
  const reason = u16(data.reason);
  const best = i32(data.best);
  const prediction = u32(data.prediction);
  const target = i32(data.target);
  const seqlets = u32(data.seqlets);
  const hits = u32(data.hits);
  const ranked = data.ranked.map(i32);
  const probabilities = data.probabilities.map(isRegression ? f32 : (text) => {
    const shares = u16(text);
    return Float32Array.from(shares, (share) => share / 65535);
  });
  const unexplained = data.unexplained.map(f32);
  const relevance = data.relevance.map(f32);
  const peaks = data.peaks.map(f32);
  const levels = new Map([...data.alphabet].map((letter, i) => [letter, i - data.most - 1]));
  const details = new Set([...document.querySelectorAll("#top article")].map((one) => Number(one.id.slice(7))));
  const all = Uint32Array.from({length: data.n}, (_, row) => row);

  // ---- What a row says ----

  // The class or target that the reader asked for; -1: the one that each row is explained by.
  let shown = isRegression && data.sparklines.length > 1 ? 0 : -1;

  const isScored = (row) => reason[row] === 0;
  const name = (row) => data.names[row] || `region ${number(row + 1)}`;
  const locus = (row) => `${data.chroms[chrom[row]]}:${number(start[row] + 1)}-${number(end[row])}`;
  const classAsked = () => (shown < 0 ? -1 : data.classes.indexOf(data.targets[shown]));
  const rankOf = (row, wanted) => ranked.findIndex((column) => column[row] === wanted);
  const probability = (row, wanted) => {
    if (!isScored(row)) return NaN;
    if (ranked.length === 0) return probabilities[wanted][row];
    const rank = rankOf(row, wanted);
    return rank < 0 ? NaN : probabilities[rank][row];
  };
  const mainClass = (row) => (classAsked() < 0 ? best[row] : classAsked());
  const mainProbability = (row) => (isScored(row) ? probability(row, mainClass(row)) : NaN);
  const predictedText = (row) => {
    if (!isScored(row)) return `skipped: ${data.reasons[reason[row]]}`;
    if (isRegression) return "";
    return data.predictions[prediction[row]].map((one) => data.classes[one]).join(", ") || "none";
  };
  const targetOf = (row) => (shown < 0 ? target[row] : shown);
  const pick = (columns, row) => {
    if (columns.length === 0 || !isScored(row) || target[row] < 0) return undefined;
    return columns[columns.length === 1 ? 0 : targetOf(row)][row];
  };
  const numeric = (columns) => (row) => pick(columns, row) ?? NaN;
  const factorsOf = (row) => (data.factorsOf[row] || []).map((one) => data.factors[one]);
  const hitsText = (row) => {
    if (!isScored(row)) return "–";
    return hits[row] ? `${number(hits[row])} ${factorsOf(row).join(", ")}` : "0";
  };
  const compact = (value) => {
    if (Number.isNaN(value)) return "–";
    const size = Math.abs(value);
    const decimals = size >= 1000 ? 0 : size >= 10 ? 1 : size >= 0.01 || size === 0 ? 2 : 4;
    const written = size < 0.001 && size > 0 ? value.toExponential(1) : value.toFixed(decimals);
    return written.replaceAll("-", "−");
  };

  // ---- Building elements ----

  const make = (tag, properties = {}, children = []) => {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(properties)) {
      if (key === "text") element.textContent = value;
      else if (key === "class") element.className = value;
      else element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  };
  const draw = (tag, attributes, children = []) => {
    const element = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const picture = (width, height, label, children, more = {}) => {
    const title = draw("title", {});
    title.textContent = label;
    return draw("svg", {
      width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, ...more,
    }, [title, ...children]);
  };

  let commonScale = null; // the value of a full bar where all rows share a scale

  const sparkline = (row, width, height) => {
    const text = pick(data.sparklines, row);
    const peak = pick(peaks, row);
    const values = [...text].map((letter) => levels.get(letter) / data.most);
    const factor = commonScale ? peak / commonScale : 1;
    const bar = width / values.length;
    const clipped = (value) => Math.max(-1, Math.min(1, value * factor));
    const known = values.filter((value) => value >= -1);
    const low = commonScale ? -0.5 : Math.min(0, ...known);
    const high = commonScale ? 1 : Math.max(0, ...known);
    const span = high - low || 1;
    const y = (value) => ((high - Math.max(low, Math.min(high, value))) / span) * height;
    let up = "";
    let down = "";
    let gaps = "";
    values.forEach((value, i) => {
      const x = (i * bar).toFixed(2);
      const w = Math.max(bar - 0.4, 0.6).toFixed(2);
      if (value < -1) gaps += `M${x} 0h${w}V${height}h-${w}z`;
      else if (value > 0) up += `M${x} ${y(0).toFixed(2)}h${w}V${y(clipped(value)).toFixed(2)}h-${w}z`;
      else if (value < 0) down += `M${x} ${y(0).toFixed(2)}h${w}V${y(clipped(value)).toFixed(2)}h-${w}z`;
    });
    const label = `relevance for ${data.targets[targetOf(row)]}: extremes up to ${compact(peak)}`;
    return picture(width, height, label, [
      draw("path", {d: gaps, fill: "#e8ecef"}),
      draw("path", {d: `M0 ${y(0).toFixed(2)}H${width}`, stroke: "#b8c1ca", "stroke-width": 0.75}),
      draw("path", {d: up, fill: "#0072b2"}),
      draw("path", {d: down, fill: "#d55e00"}),
    ], {preserveAspectRatio: "none"});
  };

  const classesOf = (row) => (ranked.length ? ranked.map((column) => column[row]) : data.classes.map((_, i) => i));

  const chances = (row) => {
    const known = classesOf(row);
    const width = Math.min(8, 60 / known.length);
    const marked = new Set(data.predictions[prediction[row]]);
    const bars = known.map((one, i) => {
      const height = Math.max(probability(row, one) * 20, 0.75);
      return draw("rect", {
        x: (i * width).toFixed(2), y: (20 - height).toFixed(2), width: Math.max(width - 1, 0.8).toFixed(2),
        height: height.toFixed(2), fill: marked.has(one) ? "#009e73" : "#9aa5b1",
      });
    });
    const label = known.map((one) => `${data.classes[one]} ${probability(row, one).toFixed(3)}`).slice(0, 24).join(", ");
    const base = draw("path", {d: `M0 20.5H${(known.length * width).toFixed(1)}`, stroke: "#b8c1ca"});
    return picture(Math.ceil(known.length * width), 21, label, [...bars, base]);
  };

  // ---- The columns of the table ----

  const cell = (text, more = {}) => make("td", {text, title: text, ...more});
  const hasSparklines = data.sparklines.length > 0;
  const COLUMNS = [
    {
      id: "place", title: "#", about: "place in the input", number: true, narrow: true,
      value: (row) => row, cell: (row) => cell(number(row + 1), {class: "number narrow of-place"}),
    },
    {
      id: "name", title: "Name", text: true, value: name,
      cell: (row) => make("th", {scope: "row"}, [
        make("button", {type: "button", class: "pick", tabindex: "-1", text: name(row), title: name(row)}),
      ]),
    },
    {
      id: "locus", title: "Locus", value: (row) => chrom[row] * 2 ** 32 + start[row],
      away: true, cell: (row) => cell(locus(row), {class: "away"}),
    },
    {
      id: "strand", title: "Strand", text: true, narrow: true, here: data.strand !== "",
      value: (row) => data.strand[row], cell: (row) => cell(data.strand[row].replace("-", "−"), {class: "narrow"}),
    },
    {
      id: "predicted", title: "Predicted class", text: true, here: !isRegression, value: predictedText,
      cell: (row) => cell(predictedText(row)),
    },
    {
      id: "probability", title: isRegression ? "Value" : "Probability",
      number: true, left: !isRegression, value: mainProbability, about: "mean over the region's windows",
      cell: (row) => {
        if (!isScored(row)) return cell("–", {class: isRegression ? "number" : ""});
        if (isRegression) return cell(compact(mainProbability(row)), {class: "number"});
        const value = mainProbability(row);
        return make("td", {}, [make("div", {class: "chance"}, [
          make("span", {text: Number.isNaN(value) ? "–" : value.toFixed(3)}), chances(row),
        ])]);
      },
    },
    {
      id: "unexplained", title: "Unexplained", number: true, narrow: true,
      here: data.hasUnexplained, about: "share of the explained value that no base received",
      value: numeric(unexplained), cell: (row) => cell(compact(numeric(unexplained)(row)), {class: "number narrow"}),
    },
    {
      id: "seqlets", title: "Seqlets", number: true, narrow: true, here: data.called[0],
      value: (row) => (isScored(row) ? seqlets[row] : NaN),
      cell: (row) => cell(isScored(row) ? number(seqlets[row]) : "–", {class: "number narrow"}),
    },
    {
      id: "hits", title: "Motif hits", here: data.called[1], number: true, left: true, away: true,
      about: "primary hits in all tracks",
      value: (row) => (isScored(row) ? hits[row] : NaN),
      cell: (row) => {
        return cell(hitsText(row), {class: "away"});
      },
    },
    {
      id: "relevance", title: "Relevance", number: true, left: true, here: hasSparklines,
      about: "of the region's bases; sorts by the highest bar", value: numeric(peaks),
      cell: (row) => (!pick(data.sparklines, row) ? cell("–") : make("td", {}, [make("div", {class: "line"}, [
        sparkline(row, 160, 26), make("span", {text: compact(numeric(peaks)(row)), title: "size of the highest bar"}),
      ])])),
    },
  ].filter((column) => column.here !== false);

  // The columns of text share what the others leave, by what they have to say in nearly all of the rows.
  const shares = new Map();
  for (const [id, text, least, most] of [
    ["name", name, 9, 26], ["locus", locus, 12, 30], ["predicted", predictedText, 12, 20], ["hits", hitsText, 6, 14],
  ]) {
    if (!COLUMNS.some((column) => column.id === id)) continue;
    const lengths = [];
    for (let row = 0; row < data.n; row += Math.ceil(data.n / 2000)) {
      if (isScored(row)) lengths.push(text(row).length);
    }
    lengths.sort((a, b) => a - b);
    const usual = lengths.length ? lengths[Math.floor(0.95 * (lengths.length - 1))] : least;
    shares.set(id, Math.max(least, Math.min(usual, most)) + 3);
  }
  const allShares = [...shares.values()].reduce((sum, one) => sum + one, 0);

  // ---- State: which rows, in which order ----

  const state = {sort: "place", descending: false, query: "", class: "", status: "", page: 0, row: -1, open: -1};
  let rows = all;

  const searchable = new Array(data.n);
  const wordsOf = (row) => {
    searchable[row] ??= [name(row), locus(row), predictedText(row), ...factorsOf(row)].join("\n").toLowerCase();
    return searchable[row];
  };
  const parsePlace = (query) => {
    const match = /^(.+?):([\d,]+)(?:\s*-\s*([\d,]+))?$/.exec(query);
    if (!match) return null;
    const position = (text) => Number(text.replaceAll(",", ""));
    const wanted = data.chroms.findIndex((one) => one.toLowerCase() === match[1].toLowerCase());
    const first = position(match[2]);
    return wanted < 0 ? null : {chrom: wanted, start: first - 1, end: match[3] ? position(match[3]) : first};
  };
  const select = () => {
    const query = state.query.trim().toLowerCase();
    const place = parsePlace(query);
    const wantedClass = state.class === "" ? -1 : Number(state.class);
    const keeps = (row) => {
      if (state.status === "scored" && !isScored(row)) return false;
      if (state.status === "skipped" && isScored(row)) return false;
      if (wantedClass >= 0) {
        if (!isScored(row) || !data.predictions[prediction[row]].includes(wantedClass)) return false;
      } else if (state.class === "none" && (!isScored(row) || data.predictions[prediction[row]].length)) return false;
      if (query === "") return true;
      if (place && chrom[row] === place.chrom && start[row] < place.end && end[row] > place.start) return true;
      return wordsOf(row).includes(query);
    };
    const column = COLUMNS.find((one) => one.id === state.sort);
    const kept = all.filter(keeps);
    const sign = state.descending ? -1 : 1;
    if (column.text) {
      const keys = new Map();
      kept.forEach((row) => keys.set(row, column.value(row).toLowerCase()));
      const order = new Intl.Collator("en", {numeric: true});
      rows = kept.sort((a, b) => sign * order.compare(keys.get(a), keys.get(b)) || a - b);
    } else {
      const keys = new Float64Array(data.n);
      kept.forEach((row) => { keys[row] = column.value(row); });
      rows = kept.sort((a, b) => {
        const one = Number.isNaN(keys[a]), other = Number.isNaN(keys[b]);
        if (one || other) return one - other || a - b; // what has no value comes last, whichever way
        return sign * (keys[a] - keys[b]) || a - b;
      });
    }
  };

  // ---- Drawing ----

  const place = document.getElementById("table");
  const said = document.getElementById("said");
  const body = make("tbody");
  const caption = make("caption", {"aria-live": "polite"});
  const heads = new Map();
  const pager = {};

  const showMore = (row) => {
    const facts = [["name", name(row)], ["locus", locus(row)], ["width", `${number(end[row] - start[row])} bases`]];
    if (!isScored(row)) facts.push(["not scored", data.reasons[reason[row]]]);
    else if (target[row] >= 0) {
      facts.push(["shown track", data.targets[targetOf(row)]]);
      facts.push(["relevance", `sum ${compact(numeric(relevance)(row))} over the region`]);
      if (data.hasUnexplained) facts.push(["unexplained", compact(numeric(unexplained)(row))]);
    }
    if (isScored(row) && data.called[0]) facts.push(["seqlets", number(seqlets[row])]);
    if (isScored(row) && data.called[1]) {
      facts.push(["primary hits", hits[row] ? `${number(hits[row])}: ${factorsOf(row).join(", ")}` : "0"]);
    }
    const list = make("dl", {}, facts.flatMap(([key, value]) => [make("dt", {text: key}), make("dd", {text: value})]));
    const parts = [list];
    if (isScored(row)) {
      const known = classesOf(row);
      const most = Math.max(...known.map((one) => Math.abs(probability(row, one))), 1e-30);
      parts.push(make("dl", {class: "classes"}, known.flatMap((one) => {
        const value = probability(row, one);
        const share = isRegression ? Math.abs(value) / most : value;
        const fill = data.predictions[prediction[row]].includes(one) ? "#009e73" : "#9aa5b1";
        const bar = draw("svg", {width: 160, height: 8, "aria-hidden": "true"}, [
          draw("rect", {width: 160, height: 8, fill: "#e3e8ec"}), draw("rect", {width: 160 * share, height: 8, fill}),
        ]);
        const text = isRegression ? compact(value) : value.toFixed(3);
        return [make("dt", {text: data.classes[one], title: data.classes[one]}), make("dd", {}, [bar, text])];
      })));
      if (hasSparklines && pick(data.sparklines, row)) {
        parts.push(make("div", {class: "wide"}, [sparkline(row, 900, 60)]));
      }
    }
    if (details.has(row)) {
      parts.push(make("p", {class: "wide"}, [make("a", {href: `#region-${row}`, text: "Letter by letter, below"})]));
    }
    return make("tr", {class: "more"}, [
      make("td", {colspan: COLUMNS.length}, [make("div", {class: "more-grid"}, parts)]),
    ]);
  };

  const drawRows = () => {
    const pages = Math.max(1, Math.ceil(rows.length / PAGE_ROWS));
    state.page = Math.max(0, Math.min(state.page, pages - 1));
    const first = state.page * PAGE_ROWS;
    const here = rows.subarray(first, first + PAGE_ROWS);
    if (!here.includes(state.row)) state.row = here.length ? here[0] : -1;
    body.replaceChildren(...[...here].flatMap((row) => {
      const line = make("tr", {class: isScored(row) ? "row" : "row unscored", "data-row": row},
        COLUMNS.map((column) => column.cell(row)));
      const button = line.querySelector(".pick");
      button.tabIndex = row === state.row ? 0 : -1;
      button.setAttribute("aria-expanded", String(row === state.open));
      if (row === state.open) line.setAttribute("aria-current", "true");
      return row === state.open ? [line, showMore(row)] : [line];
    }));
    if (here.length === 0) {
      body.append(make("tr", {}, [make("td", {colspan: COLUMNS.length, text: "No region fits. Clear the search or the filters."})]));
    }
    const span = here.length ? `${number(first + 1)} to ${number(first + here.length)} of ` : "";
    const whole = rows.length === data.n ? "" : ` (${number(data.n)} in all)`;
    pager.text.textContent = `${span}${number(rows.length)} regions${whole}`;
    caption.textContent = `Regions: ${pager.text.textContent}`;
    pager.first.disabled = pager.previous.disabled = state.page === 0;
    pager.next.disabled = pager.last.disabled = state.page === pages - 1;
    for (const [id, head] of heads) {
      head.setAttribute("aria-sort", id !== state.sort ? "none" : state.descending ? "descending" : "ascending");
    }
  };
  const update = () => {
    select();
    state.page = 0;
    drawRows();
  };

  // ---- Doing something with it ----

  const tell = (row) => {
    document.dispatchEvent(new CustomEvent("gexplain:locus", {
      detail: {chrom: data.chroms[chrom[row]], start: start[row], end: end[row], name: name(row)},
    }));
  };
  // From disk there is no genome browser, and the panel would only take the reader away from the row.
  const served = location.protocol !== "file:";
  const focusRow = (row) => {
    state.row = row;
    for (const button of body.querySelectorAll(".pick")) {
      const mine = Number(button.closest("tr").dataset.row) === row;
      button.tabIndex = mine ? 0 : -1;
      if (mine) button.focus();
    }
  };
  const openRow = (row) => {
    const opens = state.open !== row;
    state.row = row;
    state.open = opens ? row : -1;
    drawRows();
    focusRow(row);
    if (opens && served && isScored(row)) tell(row);
  };
  const goTo = (row) => {
    if (rows.indexOf(row) < 0) {
      Object.assign(state, {query: "", class: "", status: ""});
      for (const control of Object.values(controls)) control.value = "";
      select();
    }
    state.page = Math.floor(rows.indexOf(row) / PAGE_ROWS);
    state.open = row;
    drawRows();
    focusRow(row);
    body.querySelector(`[data-row="${row}"]`).scrollIntoView({block: "center"});
  };
  const turn = (page) => {
    state.page = page;
    state.row = -1;
    drawRows();
  };

  body.addEventListener("click", (event) => {
    const line = event.target.closest("tr.row");
    if (line && !String(getSelection())) openRow(Number(line.dataset.row));
  });
  body.addEventListener("keydown", (event) => {
    if (!event.target.classList.contains("pick") || event.ctrlKey || event.metaKey || event.altKey) return;
    const first = state.page * PAGE_ROWS;
    const at = rows.indexOf(state.row);
    const last = Math.min(first + PAGE_ROWS, rows.length) - 1;
    const moves = {ArrowDown: at + 1, ArrowUp: at - 1, Home: first, End: last, PageDown: at + PAGE_ROWS, PageUp: at - PAGE_ROWS};
    if (!(event.key in moves)) return;
    event.preventDefault();
    const wanted = Math.max(0, Math.min(moves[event.key], rows.length - 1));
    state.row = rows[wanted];
    state.page = Math.floor(wanted / PAGE_ROWS);
    if (wanted < first || wanted > last) drawRows();
    focusRow(rows[wanted]);
  });

  // ---- The controls ----

  const labelled = (text, control) => {
    control.setAttribute("aria-label", text); // a label around it would be read with all its options
    return make("label", {text: `${text} `}, [control]);
  };
  const options = (pairs) => pairs.map(([value, text]) => make("option", {value, text}));
  const controls = {
    query: make("input", {type: "search", placeholder: `name, chr1:1,000-2,000,${isRegression ? "" : " class,"} factor`, autocomplete: "off", spellcheck: "false"}),
    class: make("select"),
    status: make("select", {}, options([["", "all"], ["scored", "scored"], ["skipped", "skipped"]])),
  };
  const counts = new Map();
  all.forEach((row) => {
    if (!isScored(row)) return;
    for (const one of data.predictions[prediction[row]]) counts.set(one, (counts.get(one) || 0) + 1);
  });
  const frequent = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 500);
  controls.class.append(...options([["", "all"], ...frequent.map(([one, n]) => [one, `${data.classes[one]} (${number(n)})`]), ["none", "none"]]));
  let waiting = 0;
  controls.query.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      state.query = controls.query.value;
      update();
    }, data.n > 5000 ? 150 : 0);
  });
  for (const key of ["class", "status"]) {
    controls[key].addEventListener("change", () => {
      state[key] = controls[key].value;
      update();
    });
  }
  const tools = [labelled("Search", controls.query)];
  if (!isRegression) tools.push(labelled("Predicted class", controls.class));
  if (data.reasons.length > 1) tools.push(labelled("Status", controls.status));
  if (data.sparklines.length > 1) {
    const shows = make("select", {}, options([
      ...(isRegression ? [] : [["-1", data.head === "multi_label" ? "likeliest class" : "predicted class"]]),
      ...data.targets.map((one, i) => [i, one]),
    ]));
    shows.addEventListener("change", () => {
      shown = Number(shows.value);
      setScale();
      update();
    });
    tools.push(labelled(`Show ${isRegression ? "value" : "probability"} and relevance of`, shows));
  }
  const sameScale = make("input", {type: "checkbox"});
  const setScale = () => {
    if (!sameScale.checked) {
      commonScale = null;
      return;
    }
    const sizes = [...all].map((row) => numeric(peaks)(row)).filter((value) => value > 0).sort((a, b) => a - b);
    commonScale = sizes[Math.floor(0.98 * (sizes.length - 1))] || null; // a few giants would flatten all others
  };
  sameScale.addEventListener("change", () => {
    setScale();
    drawRows();
  });
  if (hasSparklines) tools.push(make("label", {class: "check"}, [sameScale, "same scale in all rows"]));

  const headRow = make("tr", {}, COLUMNS.map((column) => {
    const button = make("button", {type: "button", text: column.title});
    if (column.about) button.title = column.about;
    button.addEventListener("click", () => {
      // Numbers are mostly wanted from the highest on.
      const starts = Boolean(column.number) && column.id !== "place";
      state.descending = state.sort === column.id ? !state.descending : starts;
      state.sort = column.id;
      update();
      said.textContent = `sorted by ${column.title}, ${state.descending ? "descending" : "ascending"}`;
    });
    const classes = [`of-${column.id}`, column.number && !column.left ? "number" : "", column.narrow ? "narrow" : "", column.away ? "away" : ""];
    const head = make("th", {scope: "col", class: classes.join(" ").trim()}, [button]);
    if (shares.has(column.id)) head.style.width = `${(100 * shares.get(column.id)) / allShares}%`;
    heads.set(column.id, head);
    return head;
  }));
  const turner = (key, text, label, page) => {
    pager[key] = make("button", {type: "button", text, "aria-label": label});
    pager[key].addEventListener("click", () => turn(page()));
    return pager[key];
  };
  pager.text = make("p");
  const foot = make("div", {class: "pager", role: "group", "aria-label": "Pages of the table"}, [
    turner("first", "«", "First page", () => 0),
    turner("previous", "‹ Previous", "Previous page", () => state.page - 1),
    pager.text,
    turner("next", "Next ›", "Next page", () => state.page + 1),
    turner("last", "»", "Last page", () => Infinity),
    make("span", {class: "keys"}, [
      make("kbd", {text: "↑"}), " ", make("kbd", {text: "↓"}), " rows, ", make("kbd", {text: "Enter"}), " opens one",
    ]),
  ]);
  place.append(
    make("div", {class: "tools", role: "search", "aria-label": "Regions"}, tools),
    make("table", {}, [caption, make("thead", {}, [headRow]), body]),
    foot,
  );
  update();

  // ---- The rest of the page ----

  const unfold = () => {
    const wanted = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const folded = wanted?.closest("details");
    if (folded && !folded.open) {
      folded.open = true;
      wanted.scrollIntoView();
    }
  };
  addEventListener("hashchange", unfold);
  unfold();

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-row], a[data-locus]");
    if (!link) return;
    event.preventDefault();
    if (link.dataset.row) goTo(Number(link.dataset.row));
    else tell(Number(link.dataset.locus));
  });
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    const label = button.textContent;
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      let done = false;
      try {
        await navigator.clipboard.writeText(source.textContent);
        done = true;
      } catch {
        getSelection().selectAllChildren(source); // copied by hand, where the page may not
      }
      button.textContent = done ? "Copied" : "Selected: press Ctrl+C";
      said.textContent = button.textContent;
      setTimeout(() => { button.textContent = label; }, 2500);
    });
  }
})();

// The report's genome browser: igv.js in a panel, which moves where a "gexplain:locus" event of the document says.
// detail: {chrom, start, end, name}, 0-based and half-open.
(() => {
  "use strict";

  const config = JSON.parse(document.getElementById("igv-config").textContent);
  const byId = (id) => document.getElementById(`igv-${id}`);
  const [panel, title, status, back, fetchButton, view] =
    ["panel", "title", "status", "back", "fetch", "view"].map(byId);
  const served = location.protocol === "http:" || location.protocol === "https:";
  let browser = null; // igv.js's, once it shows the run
  let wanted = null; // the place that it has yet to show
  let cameFrom = null; // what had the focus when a place was asked for
  let work = Promise.resolve(); // igv.js is asked for one thing at a time

  const say = (sentence) => {
    status.textContent = sentence;
  };
  const described = (place) => {
    const span = `${place.chrom}:${(place.start + 1).toLocaleString("en")}-${place.end.toLocaleString("en")}`;
    return place.name && place.name !== "." ? `${place.name}, ${span}` : span;
  };

  // Where the page lies now, for a shell: a run may have been moved.
  const folder = () => {
    try {
      const path = decodeURIComponent(location.pathname.slice(0, location.pathname.lastIndexOf("/")));
      return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'"'"'`)}'`;
    } catch { // a name that is no text
      return "OUT";
    }
  };

  // igv.js takes what it tells of a clicked feature for HTML, names from the user's files too.
  const asText = (track, items) => {
    const plain = (text) => String(text).replaceAll("&nbsp;", " ");
    const rows = (items ?? []).map((item) => {
      if (typeof item === "string" && item.startsWith("<hr")) {
        return "<hr>";
      }
      const row = document.createElement("div");
      if (item.name) {
        const name = document.createElement("span");
        name.textContent = plain(item.name);
        row.append(name, "\u00a0\u00a0\u00a0", plain(item.value));
      } else {
        row.textContent = plain(item.html ?? item);
      }
      row.title = row.textContent;
      return row.outerHTML;
    });
    return rows.length > 0 ? rows.join("") : undefined;
  };

  // ---- igv.js: from the server that serves the page, or from its public address once somebody asks for that ----

  const addScript = (address, integrity) =>
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = address;
      if (integrity) {
        script.integrity = integrity;
        script.crossOrigin = "anonymous";
      }
      script.onload = () => (window.igv ? resolve() : reject(new Error("This gexplain was built without igv.js.")));
      script.onerror = () => reject(new Error("The server of this page has no igv.js; that of gexplain view has."));
      document.head.append(script);
    });

  const offer = (sentence) => {
    say(sentence);
    fetchButton.textContent = `Load igv.js from ${config.script.address}`;
    fetchButton.disabled = false;
    fetchButton.hidden = false;
  };

  const fetchPublic = async () => {
    fetchButton.disabled = true;
    say("Loading igv.js …");
    try {
      await addScript(config.script.address, config.script.integrity);
    } catch {
      offer(`igv.js could not be loaded from ${config.script.address}, or is not the file that it should be.`);
      return;
    }
    fetchButton.hidden = true;
    await open();
  };

  const start = async () => {
    if (!served) {
      say(`A browser lets no page read tracks from the disk. To see them here, run: gexplain view ${folder()}`);
    } else if (!config.igv) {
      say("browser/reference.fa.gz is missing, which the genome browser needs: gexplain report writes it.");
    } else if (["127.0.0.1", "localhost"].includes(location.hostname)) {
      // Nobody else serves it, and a file that is not there is an error in the console.
      say("Loading igv.js …");
      try {
        await addScript(config.script.served);
      } catch (error) {
        offer(error.message);
        return;
      }
      await open();
    } else {
      offer("The genome browser is igv.js, which is not a part of this page.");
    }
  };

  // ---- The browser ----

  const open = async () => {
    view.hidden = false;
    try {
      const shown = config.tracks.filter((track) => isShown(track.class)).map((track) => ({...track}));
      browser = await window.igv.createBrowser(view, {...config.igv, tracks: shown});
    } catch (error) {
      view.hidden = true;
      say(`The genome browser cannot show this run: ${error.message}`);
      return;
    }
    browser.on("trackclick", asText);
    panel.dataset.state = "ready";
    byId("classes").hidden = config.classes.length < 2;
    say(config.notes.join(" "));
    move();
  };

  const go = async (place) => {
    const chromosome = await browser.genome.loadChromosome(place.chrom);
    if (!chromosome) {
      say(`The genome browser has no chromosome ${place.chrom}.`);
      return;
    }
    const length = place.end - place.start;
    const fits = Math.floor(browser.calculateViewportWidth(1) / config.letter) - length; // and are letters still
    const flank = Math.floor(fits < 0 ? config.flank * length : Math.min(config.flank * length, fits / 2));
    const start = Math.max(0, place.start - flank);
    const end = Math.min(chromosome.bpLength, place.end + flank);
    // Not a search for chr1:1-100: names of chromosomes hold colons, too.
    await browser.updateLoci([{chr: chromosome.name, start, end}]);
    say(`The genome browser shows ${described(place)}.`);
  };

  const queue = (task) => {
    work = work.then(task).catch((error) => say(`The genome browser cannot do that: ${error.message}`));
    return work;
  };

  const move = () =>
    queue(async () => {
      if (browser && wanted) { // of many rows in a hurry, the last one
        const place = wanted;
        wanted = null;
        await go(place);
      }
    });

  document.addEventListener("gexplain:locus", (event) => {
    const {chrom, start, end, name} = event.detail;
    cameFrom = document.activeElement === document.body ? null : document.activeElement;
    back.hidden = cameFrom === null;
    title.focus({preventScroll: true});
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    panel.scrollIntoView({behavior: calm ? "auto" : "smooth", block: "start"});
    wanted = {chrom, start, end, name};
    move();
  });

  back.addEventListener("click", () => {
    cameFrom?.focus();
    cameFrom?.scrollIntoView({block: "nearest"});
    back.hidden = true;
  });
  fetchButton.addEventListener("click", fetchPublic);

  // ---- Which classes are shown ----

  const boxes = new Map();
  const isShown = (name) => name === null || !boxes.has(name) || boxes.get(name).checked;

  const toggle = async (name) => {
    if (!browser) {
      return;
    }
    const isOfClass = (track) => track.config?.class === name;
    const there = browser.findTracks(isOfClass);
    if (isShown(name) && there.length === 0) {
      await browser.loadTrackList(config.tracks.filter((track) => track.class === name).map((track) => ({...track})));
    } else if (!isShown(name)) {
      there.forEach((track) => browser.removeTrack(track));
    }
  };

  for (const {name, shown} of config.classes) {
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = shown;
    box.addEventListener("change", () => queue(() => toggle(name)));
    boxes.set(name, box);
    const label = document.createElement("label");
    label.title = name;
    label.append(box, ` ${name}`);
    byId("choices").append(label);
  }
  const filter = byId("filter");
  filter.hidden = config.classes.length <= 20;
  filter.addEventListener("input", (event) => {
    const sought = event.target.value.toLowerCase();
    for (const [name, box] of boxes) {
      box.parentElement.hidden = !name.toLowerCase().includes(sought);
    }
  });

  start();
})();

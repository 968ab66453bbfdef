// A pasted error finds its page. The search shows what holds every word of a query, and no page holds all of an error:
// it has paths, numbers and names of its own. So of a long query those words go to the search that the best section has.
(() => {
  const FEW = 4; // a query of so many words goes to the search as it is
  const MANY = 8; // words that are kept of a longer one: the rarest

  const ENTITIES = { "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&amp;": "&" };
  const plain = (html) => html.replace(/<[^>]*>/g, " ").replace(/&(lt|gt|quot|#39|amp);/g, (entity) => ENTITIES[entity]);

  class Sections {
    constructor({ config, items }) {
      this.separator = new RegExp(config.separator);
      const sections = items.map(({ title, text }) => this.wordsOf(plain(`${title} ${text}`)));
      this.texts = sections.map((words) => ` ${words.join(" ")} `);
      this.counts = new Map(); // of the sections that hold a word
      for (const words of sections)
        for (const word of new Set(words)) this.counts.set(word, (this.counts.get(word) || 0) + 1);
    }

    wordsOf(text) {
      return text.toLowerCase().split(this.separator).filter(Boolean);
    }

    rarity(word) {
      return Math.log((1 + this.texts.length) / this.counts.get(word));
    }

    // The words of a query that follow each other in a section as they do in the query; long runs tell most.
    shared(words, text) {
      const found = new Set();
      let score = 0;
      for (let start = 0; start < words.length; start++) {
        let end = start + 1;
        while (end < words.length && text.includes(` ${words.slice(start, end + 1).join(" ")} `)) end++;
        if (end - start < 2) continue;
        const run = words.slice(start, end);
        score += run.length * run.reduce((sum, word) => sum + this.rarity(word), 0);
        run.forEach((word) => found.add(word));
        start = end - 1;
      }
      return [[...found], score];
    }

    shorten(query) {
      const words = this.wordsOf(query);
      this.best = undefined; // the place of the best section
      if (words.length <= FEW) return query;
      let kept = words.filter((word) => this.counts.has(word)).slice(0, 1); // it begins with the name of the error
      let highest = 0;
      this.texts.forEach((text, place) => {
        const [found, score] = this.shared(words, text);
        if (score > highest) [kept, highest, this.best] = [found, score, place];
      });
      const plainWords = [...new Set(kept)].filter((word) => /^[\p{L}\p{N}]+$/u.test(word));
      const byRarity = plainWords.sort((a, b) => this.rarity(b) - this.rarity(a));
      return byRarity.slice(0, MANY).join(" ") || query;
    }
  }

  if (typeof module !== "undefined") {
    module.exports = { Sections };
    return;
  }
  const Original = window.Worker;
  window.Worker = class extends Original {
    postMessage(message, ...rest) {
      const data = message && message.data;
      if (data && Array.isArray(data.items)) this.sections = new Sections(data);
      const isQuery = this.sections && data && typeof data.input === "string";
      const sent = isQuery ? { ...message, data: { ...data, input: this.sections.shorten(data.input) } } : message;
      super.postMessage(sent, ...rest);
    }

    set onmessage(handler) {
      super.onmessage = handler && ((event) => handler({ data: this.reorder(event.data) }));
    }

    // The best section is the first result.
    reorder(message) {
      const items = message && message.data && message.data.items;
      const first = Array.isArray(items) && items.find((item) => this.sections && item.id === this.sections.best);
      if (!first) return message;
      return { ...message, data: { ...message.data, items: [first, ...items.filter((item) => item !== first)] } };
    }
  };
})();

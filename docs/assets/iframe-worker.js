// Browsers start no worker for a page that is read from a folder, and the search runs in one. There its script runs in a
// hidden frame instead, which gets and sends the same messages.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.documentElement.append(this.frame);
      this.scope = this.frame.contentWindow;
      this.scope.postMessage = (data) => setTimeout(() => this.onmessage?.({ data }));
      const script = this.scope.document.createElement("script");
      script.src = new URL(url, location.href);
      this.loaded = new Promise((resolve) => (script.onload = resolve));
      script.onerror = (event) => this.onerror?.(event);
      this.scope.document.documentElement.append(script);
    }

    async postMessage(data) {
      await this.loaded;
      this.scope.onmessage?.({ data });
    }

    terminate() {
      this.frame.remove();
    }
  };
}

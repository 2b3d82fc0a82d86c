// What the library holds, and whether it is being filled.

import { type LibraryState, get, pause } from "./api";
import { Indexing } from "./indexing";

const LOOK = 2000; // ms between looks at an empty library

export class LibraryWatch {
  readonly indexing = new Indexing(() => void this.read().then(() => this.news()));
  state: LibraryState | null = null;
  private watching = false;

  constructor(
    private readonly news: () => void,
    private readonly failed: (error: unknown) => void,
  ) {}

  get pictures(): number {
    return this.state?.pictures ?? 0;
  }

  /** Ask; false when there was no answer to use. */
  async read(): Promise<boolean> {
    try {
      this.state = await get<LibraryState>("/api/library");
    } catch (error) {
      this.failed(error);
      return false;
    }
    this.indexing.follow(this.state);
    if (!this.state.pictures) void this.watch();
    return true;
  }

  /** While there are no pictures: look now and then whether somebody put some in. */
  private async watch(): Promise<void> {
    if (this.watching) return;
    this.watching = true;
    while (!this.pictures) {
      await pause(LOOK);
      if (document.hidden) continue;
      const { running } = this.indexing;
      const answered = await this.read();
      if (answered && (this.pictures || this.indexing.running !== running)) this.news();
    }
    this.watching = false;
  }
}

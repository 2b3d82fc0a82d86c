// crossgraph's search page.

import { App } from "./app";

void new App().start();

// The page: joins the swarm, then hands this tab's peer to its parts.

import type { Pontoon } from "pontoon-db";
import { Chat } from "./chat";
import { SqlConsole } from "./console";
import { byId } from "./dom";
import { Header } from "./header";
import { Links } from "./links";
import { Loader } from "./loader";
import { Log } from "./log";
import { Ring } from "./ring";
import { Stored } from "./stored";
import { errorMessage, follow, join } from "./swarm";
import { wireTabs } from "./tabs";

declare global {
  interface Window {
    /** This tab's database, for the browser's console and for tests. */
    pontoon?: Pontoon;
  }
}

const RETRY_MS = 2000;

async function start(): Promise<void> {
  wireTabs(byId("inside-tabs"));
  const header = new Header();
  const sql = new SqlConsole();
  const db = await joinAtLast(header);
  const loader = new Loader(db);
  follow(db, [header, new Ring(), new Links(), new Stored(), new Log(), new Chat(db), loader]);
  sql.attach(db, () => void loader.refresh());
  window.pontoon = db;
}

/** A supernode may be away for a moment: the page keeps knocking. */
async function joinAtLast(header: Header): Promise<Pontoon> {
  for (;;) {
    try {
      return await join();
    } catch (error) {
      console.warn("could not join", error);
      header.failed(errorMessage(error));
      await new Promise((resume) => setTimeout(resume, RETRY_MS));
    }
  }
}

void start();

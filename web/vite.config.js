import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { defineConfig } from "vite";

const WEB = dirname(fileURLToPath(import.meta.url));
const BUILT = join(WEB, "../pipelines/serve/built_page");
// what is made of other sources, and what isn't built of
const NOT_SOURCES = new Set(["node_modules", "schema.d.ts", "land_coarse.json", "land_fine.json", "borders.json"]);

function files(folder) {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    if (NOT_SOURCES.has(name) || name.startsWith(".")) return [];
    return statSync(path).isDirectory() ? files(path) : [path];
  });
}

// The same as in infra/page_hook.py, which compares them.
function hashOfSources() {
  const hash = createHash("sha256");
  for (const path of files(WEB).map((each) => relative(WEB, each)).sort()) {
    hash.update(`${path}\0${createHash("sha256").update(readFileSync(join(WEB, path))).digest("hex")}\n`);
  }
  return hash.digest("hex");
}

// The licences of all packages that are bundled: those that aren't only needed to build or to test.
function licences() {
  const { packages } = JSON.parse(readFileSync(join(WEB, "package-lock.json"), "utf8"));
  const bundled = Object.entries(packages).filter(([path, each]) => path.includes("node_modules/") && (!each.dev || path.endsWith("/world-atlas")));
  const texts = bundled.filter(([path]) => !/@types|@scarf/.test(path)).map(([path, each]) => {
    const folder = join(WEB, path);
    const names = readdirSync(folder).filter((name) => /^(licen[cs]e|copying|notice)/i.test(name)).sort();
    const text = names.map((name) => readFileSync(join(folder, name), "utf8").trim()).join("\n\n");
    const { author, homepage, repository } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const by = `By ${author?.name ?? author ?? "its authors"}: ${homepage ?? repository?.url ?? repository ?? "see its registry"}`;
    return `${path.split("node_modules/").at(-1)} ${each.version} (${each.license})\n\n${text || by}`;
  });
  return `The page bundles these packages. Map data: Natural Earth, public domain.\n\n${texts.join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
}

const finish = {
  name: "finish",
  apply: "build", // not where tests run: they would mark an old page as new
  closeBundle() {
    writeFileSync(join(BUILT, "licences.txt"), licences());
    for (const path of files(BUILT)) {
      const content = readFileSync(path);
      const packed = gzipSync(content, { level: 9 });
      if (packed.length < content.length && !path.endsWith(".gz")) writeFileSync(`${path}.gz`, packed);
    }
    writeFileSync(join(BUILT, "sources.sha256"), `${hashOfSources()}\n`);
  },
};

export default defineConfig({
  base: "./",
  plugins: [finish],
  build: {
    outDir: BUILT,
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 2000,
    rollupOptions: {
      input: { index: join(WEB, "index.html"), docs: join(WEB, "docs.html") },
      output: { manualChunks: (id) => (id.includes("node_modules/maplibre-gl") ? "maplibre" : undefined) },
    },
  },
  test: { include: ["src/**/*.test.ts"] },
});

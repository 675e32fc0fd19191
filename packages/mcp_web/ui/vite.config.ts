import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// `npx vite` on top of a running `umbrella serve --port 8420`; the built pages come from the Python server.
const node = "http://127.0.0.1:8420";

export default defineConfig({
  plugins: [react()],
  build: { outDir: "../src/mcp_web/dashboard", emptyOutDir: true, assetsInlineLimit: 0 },
  server: {
    proxy: { "/api": { target: node, ws: true, changeOrigin: true, headers: { origin: node } }, "/login": node },
  },
});

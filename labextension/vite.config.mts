import { defineConfig } from "vite";

// One file without imports: an anywidget sends it through its kernel.
export default defineConfig({
  build: {
    lib: { entry: "src/promotion/widget.ts", formats: ["es"], fileName: () => "promotion.js" },
    outDir: "../mlnb/labextension/static",
    emptyOutDir: false,
    target: "es2022",
  },
});

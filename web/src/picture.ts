// A picture dropped, pasted or chosen: made small before it is sent, so that every search with it stays quick.

const LARGEST = 1024; // px of the longer side as sent; region encoders see less
const EXTENSIONS = /\.(jpe?g|png|webp|gif|bmp|tiff?|avif|hei[cf])$/i;
let made = 0;

export interface Dropped {
  key: string;
  name: string;
  sent: Blob;
  preview: string | null; // an address of this page's own memory
  weight: number;
}

/** Make a file ready to search with; null when it is no picture. */
export async function prepare(file: File): Promise<Dropped | null> {
  if (!file.type.startsWith("image/") && !EXTENSIONS.test(file.name)) return null;
  const key = String(++made);
  const name = file.name || "picture";
  try {
    const small = await shrink(file);
    return { key, name, sent: small, preview: URL.createObjectURL(small), weight: 0.5 };
  } catch {
    return { key, name, sent: file, preview: null, weight: 0.5 }; // a kind this browser cannot read: the server may
  }
}

async function shrink(file: File): Promise<Blob> {
  const bitmap = await createImageBitmap(file); // upright
  const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const pen = canvas.getContext("2d");
  if (!pen) throw new Error("no canvas");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  if (!blob) throw new Error("the canvas made no picture");
  return blob;
}

/** Take pictures dropped or pasted anywhere on the page. */
export function listenForPictures(veil: HTMLElement, take: (file: File) => void): void {
  let depth = 0;
  const holds = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
  const cover = (on: boolean): void => {
    veil.hidden = !on;
    if (!on) depth = 0;
  };
  addEventListener("dragenter", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    depth++;
    cover(true);
  });
  addEventListener("dragleave", (event) => {
    if (holds(event) && --depth <= 0) cover(false);
  });
  addEventListener("dragover", (event) => {
    if (holds(event)) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    cover(false);
    const file = event.dataTransfer?.files[0];
    if (file) take(file);
  });
  addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (!file) return;
    event.preventDefault();
    take(file);
  });
}

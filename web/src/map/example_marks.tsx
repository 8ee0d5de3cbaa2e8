// The examples on the map: a pin with a plus where one for lies, with a minus where one against does. It stands above
// the place, so that what was found there can be seen.
import { Marker, type Map } from "maplibre-gl";
import { render } from "preact";
import { Icon } from "../panels/icons";
import type { ExamplePlace } from "../state/example_places";
import { centreOf } from "../state/places";

const ABOVE = 8; // pixels between the place and the pin's head, where its point is

export class ExampleMarks {
  private marks: Marker[] = [];

  constructor(private readonly map: Map) {}

  /** Mark these examples, and no others. The list of examples names them, so screen readers skip the marks. */
  show(places: readonly ExamplePlace[]): void {
    for (const mark of this.marks) mark.remove();
    this.marks = places.map(({ as, box }) => {
      const element = document.createElement("span");
      element.className = `example-mark ${as}`;
      element.setAttribute("aria-hidden", "true");
      render(<Icon name={as === "for" ? "plus" : "minus"} />, element);
      return new Marker({ element, anchor: "bottom", offset: [0, -ABOVE] }).setLngLat(centreOf(box)).addTo(this.map);
    });
  }
}

// What the graphics card does with a box: the four corners of a box or of a dot's square, then the colour of each pixel.

export const VERTEX = `#version 300 es
layout(location = 0) in vec4 corner; // west and north: coarse, then the rest
layout(location = 1) in vec2 extent; // width and height
layout(location = 2) in vec2 looks; // value and opacity
uniform mat4 matrix;
uniform vec4 centre; // as a corner
uniform float world; // pixels
uniform float dots_below;
uniform float radius;
uniform float softness;
uniform vec2 range;
uniform vec3 colours[5];
out vec2 offset; // from the middle [pixels]
flat out vec2 reach; // half of width and height [pixels]
flat out float is_dot;
flat out vec4 filling;

void main() {
  vec2 place = (corner.xy - centre.xy) + (corner.zw - centre.zw);
  reach = extent * world / 2.0;
  is_dot = reach.x * 2.0 < dots_below ? 1.0 : 0.0;
  if (is_dot > 0.5) reach = vec2(radius);
  vec2 side = vec2(gl_VertexID & 1, (gl_VertexID >> 1) & 1) * 2.0 - 1.0;
  offset = side * (reach + softness);
  gl_Position = matrix * vec4(place + extent / 2.0 + offset / world, 0.0, 1.0);

  float share = clamp((looks.x - range.x) / max(range.y - range.x, 1e-6), 0.0, 1.0) * 4.0;
  int step_ = min(int(share), 3);
  filling = vec4(mix(colours[step_], colours[step_ + 1], share - float(step_)), is_dot > 0.5 ? 1.0 : looks.y);
}`;

export const FRAGMENT = `#version 300 es
precision highp float;
uniform vec3 line_colour;
uniform vec2 lines; // width around a dot, and around a box [pixels]
uniform float softness;
in vec2 offset;
flat in vec2 reach;
flat in float is_dot;
flat in vec4 filling;
out vec4 colour;

void main() {
  vec2 left = reach - abs(offset);
  float inside = is_dot > 0.5 ? reach.x - length(offset) : min(left.x, left.y); // distance to the edge
  float wide = is_dot > 0.5 ? lines.x : lines.y;
  float line = wide > 0.0 ? clamp(wide - inside + 0.5, 0.0, 1.0) : 0.0;
  float edge = softness > 0.5 ? clamp(inside + 0.5, 0.0, 1.0) : 1.0;
  vec4 mixed = mix(filling, vec4(line_colour, 1.0), line);
  colour = vec4(mixed.rgb, 1.0) * mixed.a * edge;
}`;

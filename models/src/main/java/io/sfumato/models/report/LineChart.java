// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.report;

import io.sfumato.models.data.Curve;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.DoubleFunction;

/**
 * Curves over the steps as SVG. Colours are the page's, {@code --c0} to {@code --c5}, so that one
 * drawing suits light and dark grounds.
 */
final class LineChart {
  static final int COLOURS = 6;

  private static final int WIDTH = 640;
  private static final int HEIGHT = 300;
  private static final int LEFT = 78;
  private static final int RIGHT = 14;
  private static final int TOP = 10;
  private static final int BOTTOM = 34;
  private static final int MAX_POINTS = 600;

  private record Line(String name, Curve curve, int colour, boolean faint) {}

  private final String title;
  private final List<Line> lines = new ArrayList<>();
  private boolean log;
  private boolean fromZero;
  private DoubleFunction<String> unit = LineChart::label;

  LineChart(String title) {
    this.title = title;
  }

  /** Adds a curve; values must be finite. Without points there is none. */
  LineChart add(String name, Curve curve, int colour) {
    return add(new Line(name, curve, colour % COLOURS, false));
  }

  /** Adds a curve that stands behind the others; its name may be empty. */
  LineChart faint(String name, Curve curve, int colour) {
    return add(new Line(name, curve, colour % COLOURS, true));
  }

  private LineChart add(Line line) {
    if (line.curve.x().length > 0) {
      lines.add(line);
    }
    return this;
  }

  /** A logarithmic axis, if all values are positive and spread over a factor of four. */
  LineChart logarithmic() {
    log = true;
    return this;
  }

  /** An axis that begins at zero. */
  LineChart fromZero() {
    fromZero = true;
    return this;
  }

  /** Another form of the numbers beside the axis. */
  LineChart unit(DoubleFunction<String> form) {
    unit = form;
    return this;
  }

  boolean isEmpty() {
    return lines.isEmpty();
  }

  /** Writes the figure: title, drawing and the names of its curves. */
  void writeTo(Html page) {
    double least = extreme(false, false);
    double most = extreme(false, true);
    double first = extreme(true, false);
    double last = Math.max(extreme(true, true), first + 1);
    boolean logarithmic = log && least > 0 && most / least >= 4;
    double low = logarithmic ? Math.log10(least) : fromZero ? Math.min(0, least) : least;
    double high = logarithmic ? Math.log10(most) : most;
    double room = high > low ? 0.04 * (high - low) : Math.max(Math.abs(high), 1) * 0.1;
    high += room;
    low -= fromZero && !logarithmic ? 0 : room;

    page.raw("<figure><figcaption>")
        .text(title + (logarithmic ? " (logarithmic)" : ""))
        .raw("</figcaption>\n");
    page.raw(
            String.format(
                Locale.ROOT,
                "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"",
                WIDTH,
                HEIGHT))
        .text(title)
        .raw("\">\n");
    double lowest = low;
    double highest = high;
    for (double tick : logarithmic ? decades(low, high) : nice(low, high, 5)) {
      double at = logarithmic ? Math.log10(tick) : tick;
      double y = y(at, lowest, highest);
      page.raw(line("grid", LEFT, y, WIDTH - RIGHT, y));
      page.raw(text("n", LEFT - 8, y + 4, unit.apply(tick)));
    }
    for (double tick : nice(first, last, 6)) {
      double x = x(tick, first, last);
      page.raw(line("grid", x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 4));
      page.raw(text("m", x, HEIGHT - BOTTOM + 18, label(tick)));
    }
    page.raw(line("axis", LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM));
    for (Line line : lines) {
      draw(page, line, logarithmic, new double[] {first, last, lowest, highest});
    }
    page.raw("</svg>\n");
    List<Line> named = lines.stream().filter(line -> !line.name.isEmpty()).toList();
    if (named.size() > 1) {
      page.raw("<p class=\"legend\">");
      named.forEach(
          line ->
              page.raw(
                      "<span><i class=\"c" + line.colour + (line.faint ? " faint" : "") + "\"></i>")
                  .text(line.name)
                  .raw("</span> "));
      page.raw("</p>\n");
    }
    page.raw("</figure>\n");
  }

  private void draw(Html page, Line line, boolean logarithmic, double[] range) {
    Curve curve = line.curve.thin(MAX_POINTS);
    String style = "c" + line.colour + (line.faint ? " faint" : "");
    StringBuilder path = new StringBuilder();
    double x = 0;
    double y = 0;
    for (int i = 0; i < curve.x().length; i++) {
      double value = logarithmic ? Math.log10(curve.y()[i]) : curve.y()[i];
      x = x(curve.x()[i], range[0], range[1]);
      y = y(value, range[2], range[3]);
      path.append(String.format(Locale.ROOT, i == 0 ? "M%.1f %.1f" : "L%.1f %.1f", x, y));
    }
    if (curve.x().length < 40 && !line.faint) {
      for (int i = 0; i < curve.x().length; i++) {
        double value = logarithmic ? Math.log10(curve.y()[i]) : curve.y()[i];
        page.raw(
            String.format(
                Locale.ROOT,
                "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>%s:"
                    + " %s</title></circle>\n",
                style,
                x(curve.x()[i], range[0], range[1]),
                y(value, range[2], range[3]),
                Html.escape(label(curve.x()[i])),
                Html.escape(unit.apply(curve.y()[i]))));
      }
    }
    page.raw("<path class=\"" + style + "\" d=\"" + path + "\"/>\n");
  }

  private double extreme(boolean ofX, boolean largest) {
    double found = Double.NaN;
    for (Line line : lines) {
      for (double v : ofX ? line.curve.x() : line.curve.y()) {
        found = Double.isNaN(found) || (largest ? v > found : v < found) ? v : found;
      }
    }
    return found;
  }

  private static double x(double value, double first, double last) {
    return LEFT + (WIDTH - LEFT - RIGHT) * (value - first) / (last - first);
  }

  private static double y(double value, double low, double high) {
    return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low);
  }

  private static String line(String style, double x1, double y1, double x2, double y2) {
    return String.format(
        Locale.ROOT,
        "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
        style,
        x1,
        y1,
        x2,
        y2);
  }

  private static String text(String style, double x, double y, String text) {
    return String.format(
        Locale.ROOT,
        "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">%s</text>\n",
        style,
        x,
        y,
        Html.escape(text));
  }

  /** Multiples of 1, 2 or 5 times a power of ten, about so many. */
  static List<Double> nice(double low, double high, int about) {
    double raw = (high - low) / about;
    double power = Math.pow(10, Math.floor(Math.log10(raw)));
    double ratio = raw / power;
    double step = power * (ratio < 1.5 ? 1 : ratio < 3.5 ? 2 : ratio < 7.5 ? 5 : 10);
    List<Double> ticks = new ArrayList<>();
    for (long i = (long) Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) {
      ticks.add(i * step);
    }
    return ticks;
  }

  /** Powers of ten between two logarithms, with their 2 and 5 where there are few. */
  static List<Double> decades(double low, double high) {
    double[] parts = high - low <= 2.5 ? new double[] {1, 2, 5} : new double[] {1};
    int every = Math.max(1, (int) Math.ceil((high - low) / 6));
    List<Double> ticks = new ArrayList<>();
    for (int p = (int) Math.floor(low); p <= Math.ceil(high); p++) {
      if (Math.floorMod(p, every) == 0) {
        for (double part : parts) {
          double value = part * Math.pow(10, p);
          if (Math.log10(value) >= low && Math.log10(value) <= high) {
            ticks.add(value);
          }
        }
      }
    }
    return ticks;
  }

  /** A number beside an axis, short. */
  static String label(double value) {
    double size = Math.abs(value);
    if (size != 0 && (size < 1e-3 || size >= 1e6)) {
      return String.format(Locale.ROOT, "%.1e", value)
          .replace(".0e", "e")
          .replaceAll("e([+-])0", "e$1")
          .replace("e+", "e");
    }
    String text = String.format(Locale.ROOT, "%.4f", value).replaceAll("\\.?0+$", "");
    return text.equals("-0") ? "0" : text;
  }
}

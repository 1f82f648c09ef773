// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.report;

import io.sfumato.models.data.Curve;
import io.sfumato.models.report.Metrics.Series;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.DoubleFunction;

/** The sections of a report, from top to bottom. */
final class ReportPage {
  private static final double SMOOTHING = 0.97;
  private static final int FEW = 50;
  private static final int MODULES = 30;

  private final Html page;
  private final List<RunData> runs;
  private final boolean one;

  ReportPage(Html page, List<RunData> runs) {
    this.page = page;
    this.runs = runs;
    this.one = runs.size() == 1;
  }

  void write(String title) {
    page.element("h1", title);
    if (one) {
      RunData run = runs.getFirst();
      String started = run.environment().getOrDefault("started", "");
      page.raw("<p class=\"soft\">")
          .text(run.folder() + (started.isEmpty() ? "" : ", started " + started))
          .raw("</p>\n");
    }
    problems();
    if (one) {
      cards(runs.getFirst());
    } else {
      comparison();
    }
    curves();
    pictures();
    profile();
    lineage();
    settings();
    environment();
    configuration();
  }

  private void problems() {
    List<String> all = new ArrayList<>();
    for (RunData run : runs) {
      run.problems().forEach(p -> all.add(one ? p : run.name() + ": " + p));
      Series loss = run.metrics().of("loss");
      int wrong = loss.size() - loss.finite().size();
      if (wrong > 0) {
        all.add(
            (one ? "" : run.name() + ": ")
                + wrong
                + (wrong == 1 ? " loss is" : " losses are")
                + " not finite and not drawn, the first at step "
                + Html.number(firstNotFinite(loss)));
      }
    }
    if (!all.isEmpty()) {
      page.raw("<div class=\"problems\">").element("b", "Not everything could be shown");
      page.raw("<ul>");
      all.forEach(problem -> page.element("li", problem));
      page.raw("</ul></div>\n");
    }
  }

  private static double firstNotFinite(Series loss) {
    for (int i = 0; i < loss.size(); i++) {
      if (!Double.isFinite(loss.values()[i])) {
        return loss.steps()[i];
      }
    }
    return Double.NaN;
  }

  // ---- the summary

  private void cards(RunData run) {
    page.raw("<div class=\"cards\">");
    summary(run)
        .forEach(
            (name, value) ->
                page.raw("<div><b>").text(value).raw("</b><span>").text(name).raw("</span></div>"));
    page.raw("</div>\n");
  }

  private static Map<String, String> summary(RunData run) {
    Map<String, String> values = new LinkedHashMap<>();
    Metrics metrics = run.metrics();
    Series loss = metrics.of("loss").finite();
    if (loss.size() > 0) {
      values.put("steps", Html.number(loss.steps()[loss.size() - 1]));
      Curve smooth = new Curve(loss.steps(), loss.values()).smooth(SMOOTHING);
      values.put("loss, smoothed", Html.number(smooth.y()[loss.size() - 1]));
    } else if (run.state() != null) {
      values.put("steps", Html.number(run.state().step()));
    }
    Series validation = metrics.of("validation_loss").finite();
    if (validation.size() > 0) {
      int best = 0;
      for (int i = 1; i < validation.size(); i++) {
        best = validation.values()[i] < validation.values()[best] ? i : best;
      }
      values.put(
          "best validation loss",
          Html.number(validation.values()[best])
              + " (step "
              + Html.number(validation.steps()[best])
              + ")");
    }
    Series seconds = metrics.of("seconds").finite();
    if (seconds.size() > 0) {
      values.put("training time", Html.duration(seconds.last()));
    }
    Series speed = metrics.of("images_per_second").finite();
    if (speed.size() > 0) {
      values.put("images per second, median", Html.number(median(speed.values())));
    } else if (seconds.size() > 1) {
      values.put(
          "steps per second", Html.number((seconds.size() - 1) / Math.max(1e-9, seconds.last())));
    }
    Series peak = metrics.of("peak_bytes").finite();
    if (peak.size() > 0) {
      double most = 0;
      for (double v : peak.values()) {
        most = Math.max(most, v);
      }
      values.put("peak memory", Html.bytes(most));
    }
    if (run.parameters() >= 0) {
      values.put("parameters", Html.number(run.parameters()));
    }
    if (run.environment().containsKey("device")) {
      values.put("device", run.environment().getOrDefault("device", ""));
    }
    return values;
  }

  private static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2];
  }

  private void comparison() {
    List<Map<String, String>> all = runs.stream().map(ReportPage::summary).toList();
    page.section("Summary");
    sideBySide("", all, false);
    page.end();
  }

  /** A row per name, a column per run. */
  private void sideBySide(String title, List<Map<String, String>> all, boolean differencesOnly) {
    Set<String> names = new LinkedHashSet<>();
    all.forEach(values -> names.addAll(values.keySet()));
    List<String> titles = new ArrayList<>(List.of(title));
    runs.forEach(run -> titles.add(run.name()));
    List<List<String>> rows = new ArrayList<>();
    for (String name : names) {
      List<String> row = new ArrayList<>(List.of(name));
      all.forEach(values -> row.add(values.getOrDefault(name, "–")));
      if (!differencesOnly || row.stream().skip(1).distinct().count() > 1) {
        rows.add(row);
      }
    }
    page.table(titles, rows);
  }

  // ---- curves

  private void curves() {
    List<LineChart> charts = new ArrayList<>();
    charts.add(smoothed("Training loss", "loss").logarithmic());
    charts.add(plain("Validation loss", "validation_loss", LineChart::label));
    charts.add(plain("Learning rate", "learning_rate", LineChart::label).fromZero());
    charts.add(smoothed("Norm of the gradients", "gradient_norm").logarithmic());
    charts.add(smoothed("Images per second", "images_per_second").fromZero());
    charts.add(memory());
    if (charts.stream().anyMatch(chart -> !chart.isEmpty())) {
      page.section("Curves over the steps").raw("<div class=\"charts\">\n");
      charts.stream().filter(chart -> !chart.isEmpty()).forEach(chart -> chart.writeTo(page));
      page.raw("</div>\n").end();
    }
  }

  /** The values thin, and their moving average over them; few values as they are. */
  private LineChart smoothed(String title, String name) {
    LineChart chart = new LineChart(title);
    for (int i = 0; i < runs.size(); i++) {
      Series series = runs.get(i).metrics().of(name).finite();
      Curve curve = new Curve(series.steps(), series.values());
      if (series.size() < FEW) {
        chart.add(one ? title.toLowerCase(Locale.ROOT) : runs.get(i).name(), curve, i);
      } else {
        chart.faint(one ? "each step" : "", curve, i);
        String average = "moving average (" + SMOOTHING + ")";
        chart.add(one ? average : runs.get(i).name(), curve.smooth(SMOOTHING), i);
      }
    }
    return chart;
  }

  private LineChart plain(String title, String name, DoubleFunction<String> unit) {
    LineChart chart = new LineChart(title).unit(unit);
    for (int i = 0; i < runs.size(); i++) {
      Series series = runs.get(i).metrics().of(name).finite();
      chart.add(one ? title : runs.get(i).name(), new Curve(series.steps(), series.values()), i);
    }
    return chart;
  }

  private LineChart memory() {
    LineChart chart = new LineChart("Memory of tensors, MiB").fromZero();
    for (int i = 0; i < runs.size(); i++) {
      for (String name : List.of("live", "peak")) {
        Series series = runs.get(i).metrics().of(name + "_bytes").finite();
        int colour = one ? (name.equals("live") ? 0 : 1) : i;
        double[] mebibytes = Arrays.stream(series.values()).map(v -> v / (1 << 20)).toArray();
        Curve curve = new Curve(series.steps(), mebibytes);
        if (one || name.equals("peak")) {
          chart.add(one ? name : runs.get(i).name(), curve, colour);
        }
      }
    }
    return chart;
  }

  // ---- pictures

  private void pictures() {
    Pictures pictures = new Pictures(page);
    for (RunData run : runs) {
      String of = one ? "" : " of " + run.name();
      if (!run.samples().isEmpty()) {
        page.section("Samples" + of).raw("<div class=\"pictures\">\n");
        for (Path file : run.samples()) {
          pictures.show(file, run.folder().relativize(file).toString());
        }
        page.raw("</div>\n").end();
      }
      if (!run.previews().isEmpty()) {
        List<Path> some = Pictures.some(run.previews());
        page.section("Previews during training" + of);
        if (some.size() < run.previews().size()) {
          page.element("p", some.size() + " of " + run.previews().size() + ", equally spaced.");
        }
        page.raw("<div class=\"pictures\">\n");
        some.forEach(file -> pictures.show(file, Pictures.caption(file)));
        page.raw("</div>\n").end();
      }
    }
  }

  // ---- tables

  private void profile() {
    for (RunData run : runs) {
      List<RunData.ModuleTime> modules = run.profile();
      if (modules.isEmpty()) {
        continue;
      }
      page.section("Time per module" + (one ? "" : " of " + run.name()));
      page.element(
          "p",
          "From the steps that were traced, forward and backward: first by block, with all modules"
              + " in it; then the own ops of each module, without those of modules in it."
              + (modules.size() > MODULES
                  ? " The " + MODULES + " slowest of " + modules.size() + "."
                  : ""));
      times("block", RunData.blocks(modules));
      times("module", modules.subList(0, Math.min(MODULES, modules.size())));
      page.end();
    }
  }

  private void times(String title, List<RunData.ModuleTime> modules) {
    double longest = modules.stream().mapToDouble(RunData.ModuleTime::seconds).max().orElse(0);
    page.raw("<div class=\"wide\"><table><thead><tr><th>" + title)
        .raw("</th><th class=\"n\">ops</th><th class=\"n\">seconds</th>")
        .raw("<th class=\"n\">results</th></tr></thead><tbody>\n");
    for (RunData.ModuleTime m : modules) {
      page.raw("<tr><td>")
          .text(m.module().isEmpty() ? "(outside of modules)" : m.module())
          .raw(
              String.format(
                  Locale.ROOT,
                  "<span class=\"bar\" style=\"width:%.1f%%\"></span></td>",
                  longest > 0 ? 100 * m.seconds() / longest : 0))
          .raw("<td class=\"n\">" + Html.number(m.calls()) + "</td>")
          .raw("<td class=\"n\">" + Html.number(m.seconds()) + "</td>")
          .raw("<td class=\"n\">" + Html.bytes(m.bytes()) + "</td></tr>\n");
    }
    page.raw("</tbody></table></div>\n");
  }

  private void lineage() {
    for (RunData run : runs) {
      if (run.lineage().isEmpty()) {
        continue;
      }
      page.section("Checkpoints" + (one ? "" : " of " + run.name()));
      page.table(
          List.of("folder", "step ", "size ", "id", "made after"),
          run.lineage().stream()
              .map(
                  c ->
                      List.of(
                          c.where(),
                          Html.number(c.step()),
                          Html.bytes(c.bytes()),
                          shortId(c.id()),
                          c.parent().isEmpty() ? "the beginning" : shortId(c.parent())))
              .toList());
      page.end();
    }
  }

  private static String shortId(String id) {
    return id.length() <= 12 ? id : id.substring(0, 12);
  }

  private void settings() {
    List<Map<String, String>> all = runs.stream().map(RunData::settings).toList();
    if (all.stream().allMatch(Map::isEmpty)) {
      return;
    }
    page.section(one ? "Data and model" : "Data and model: what differs");
    sideBySide("setting", all, !one);
    page.end();
  }

  private void environment() {
    List<Map<String, String>> all = runs.stream().map(run -> readable(run.environment())).toList();
    if (all.stream().allMatch(Map::isEmpty)) {
      return;
    }
    page.section("Machine and versions");
    sideBySide("", all, false);
    page.end();
  }

  private static Map<String, String> readable(Map<String, String> environment) {
    Map<String, String> values = new LinkedHashMap<>();
    environment.forEach(
        (name, value) ->
            values.put(
                name.replace("_bytes", "").replace('_', ' '),
                name.endsWith("_bytes") && value.matches("\\d{1,18}")
                    ? Html.bytes(Double.parseDouble(value))
                    : value));
    return values;
  }

  private void configuration() {
    for (RunData run : runs) {
      if (!run.config().isEmpty()) {
        page.section("Configuration" + (one ? "" : " of " + run.name()));
        page.element("pre", run.config()).end();
      }
    }
  }
}

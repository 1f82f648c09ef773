// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.awt.AWTError;
import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.image.BufferedImage;
import java.io.UncheckedIOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.stream.DoubleStream;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * Draws a loss curve as PNG: the raw values thin and light, and over them their exponential moving
 * average, {@code m_i = s * m_(i-1) + (1 - s) * loss_i}, divided by {@code 1 - s^i}. The y axis is
 * logarithmic; linear if a loss is not positive, or if they all lie within a factor of ten. Needs
 * no display; where Java believes there is one that cannot be reached, start it with {@code
 * -Djava.awt.headless=true}.
 */
public final class LossPlot {
  private static final Logger LOG = System.getLogger(LossPlot.class.getName());

  /** More points than this are drawn as means of equal runs. */
  private static final int MAX_POINTS = 2000;

  private static final Color GROUND = new Color(0xFFFFFF);
  private static final Color RAW = new Color(0xB9CDEB);
  private static final Color SMOOTH = new Color(0x1F4E9E);
  private static final Color GRID = new Color(0xE6E6E6);
  private static final Color INK = new Color(0x303238);

  private static final Options DEFAULTS = new Options(900, 540, "Training loss", 0.97);

  private LossPlot() {}

  /**
   * How to draw.
   *
   * @param width width in pixels, 100 to 8192
   * @param height height in pixels, 100 to 8192
   * @param title text above the plot; may be empty
   * @param smoothing s of the moving average, 0 (none) up to, but not, 1
   */
  public record Options(int width, int height, String title, double smoothing) {
    /** Checks the ranges. */
    public Options {
      if (width < 100 || width > 8192 || height < 100 || height > 8192) {
        throw new IllegalArgumentException(
            "width and height must be 100 to 8192 pixels; got " + width + " x " + height);
      }
      Objects.requireNonNull(title, "title");
      if (!(smoothing >= 0 && smoothing < 1)) {
        throw new IllegalArgumentException("smoothing must be in [0, 1); got " + smoothing);
      }
    }

    /**
     * {@return these options with another size}
     *
     * @param newWidth width in pixels
     * @param newHeight height in pixels
     */
    public Options size(int newWidth, int newHeight) {
      return new Options(newWidth, newHeight, title, smoothing);
    }

    /**
     * {@return these options with another title}
     *
     * @param newTitle the text
     */
    public Options title(String newTitle) {
      return new Options(width, height, newTitle, smoothing);
    }

    /**
     * {@return these options with another smoothing}
     *
     * @param newSmoothing s of the moving average
     */
    public Options smoothing(double newSmoothing) {
      return new Options(width, height, title, newSmoothing);
    }
  }

  /** {@return the default options: 900 x 540 pixels, "Training loss", smoothing 0.97} */
  public static Options options() {
    return DEFAULTS;
  }

  /**
   * Draws the rows of a loss table, atomically. Losses that are NaN or infinite are left out, with
   * a log line.
   *
   * @param file the file
   * @param rows the rows
   * @param options the options
   * @throws IllegalArgumentException if no finite loss is left
   * @throws UncheckedIOException if the file cannot be written
   */
  public static void write(Path file, List<LossCsv.Row> rows, Options options) {
    List<LossCsv.Row> finite = rows.stream().filter(r -> Double.isFinite(r.loss())).toList();
    if (finite.isEmpty()) {
      throw new IllegalArgumentException(
          "a plot needs a finite loss; got " + rows.size() + " rows without one");
    }
    if (finite.size() < rows.size()) {
      LOG.log(
          Level.WARNING,
          "{0}: {1} losses that are not finite are left out of the plot",
          file,
          rows.size() - finite.size());
    }
    double[] x = finite.stream().mapToDouble(LossCsv.Row::step).toArray();
    double[] y = finite.stream().mapToDouble(LossCsv.Row::loss).toArray();
    BufferedImage image;
    try {
      image = BitmapEncoder.getBufferedImage(chart(x, y, options));
    } catch (AWTError | LinkageError | InternalError | RuntimeException e) {
      // A machine without fonts has no plot, but keeps all else that a run made.
      LOG.log(
          Level.WARNING,
          "{0} is not written, because Java cannot draw here ({1}); start it with"
              + " -Djava.awt.headless=true, and see that fontconfig and a font are installed",
          file,
          e);
      return;
    }
    PngFiles.write(file, image);
  }

  private static XYChart chart(double[] x, double[] y, Options options) {
    XYChart chart =
        new XYChartBuilder()
            .width(options.width())
            .height(options.height())
            .title(options.title())
            .xAxisTitle("step")
            .yAxisTitle("loss")
            .build();
    double least = DoubleStream.of(y).min().orElseThrow();
    double most = DoubleStream.of(y).max().orElseThrow();
    XYStyler styler = chart.getStyler();
    if (least > 0 && most / least >= 10) {
      // Labels stand at powers of ten; the axis is stretched to show two at least.
      double low = Math.floor(Math.log10(least));
      double high = Math.ceil(Math.log10(most));
      styler.setYAxisLogarithmic(true);
      if (high - low <= 2) {
        styler.setYAxisMin(Math.pow(10, low));
        styler.setYAxisMax(Math.pow(10, high));
      }
    }
    styler.setXAxisDecimalPattern("0");
    styler.setXAxisTickMarkSpacingHint(90);
    styler.setLegendPosition(Styler.LegendPosition.InsideNE);
    styler.setLegendBorderColor(GRID);
    styler.setChartBackgroundColor(GROUND);
    styler.setPlotBackgroundColor(GROUND);
    styler.setPlotBorderVisible(false);
    styler.setPlotGridLinesColor(GRID);
    styler.setChartFontColor(INK);
    styler.setChartTitleFont(new Font(Font.SANS_SERIF, Font.BOLD, 16));
    styler.setChartPadding(12);
    add(chart, "loss", new Curve(x, y).thin(MAX_POINTS), RAW, 1f);
    if (options.smoothing() > 0) {
      String name = "moving average (" + options.smoothing() + ")";
      add(chart, name, new Curve(x, y).smooth(options.smoothing()).thin(MAX_POINTS), SMOOTH, 2.5f);
    }
    return chart;
  }

  private static void add(XYChart chart, String name, Curve curve, Color color, float width) {
    XYSeries series = chart.addSeries(name, curve.x(), curve.y());
    series.setLineColor(color);
    series.setLineStyle(new BasicStroke(width, BasicStroke.CAP_ROUND, BasicStroke.JOIN_ROUND));
    // A single point makes no line.
    series.setMarker(curve.x().length == 1 ? SeriesMarkers.CIRCLE : SeriesMarkers.NONE);
    series.setMarkerColor(color);
  }
}

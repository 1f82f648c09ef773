// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Whether this library's kernels may use Hopper's own matrix unit (wgmma). They may unless someone
 * forbids it. They take attention of 16-bit types, low-rank layers whose two products are summed in
 * one pass, and the products that no library of NVIDIA takes.
 */
public final class Wgmma {
  /** The system property that allows it from the start: {@code on}, the default, or {@code off}. */
  public static final String PROPERTY = "sfumato.cuda.wgmma";

  private static final int CAPABILITY = 90;

  /** The first driver that reads their PTX: of 12.1, which has version 8.1 of the language. */
  static final int LEAST_DRIVER = 12010;

  private static final Logger LOG = System.getLogger(Wgmma.class.getName());
  private static volatile @Nullable Boolean allowed;
  private static volatile boolean asked; // for it, rather than nothing said
  private static final Map<Gpu, Boolean> SAID = new ConcurrentHashMap<>();

  private Wgmma() {}

  static boolean read(String value) {
    return switch (value) {
      case "on" -> true;
      case "off" -> false;
      default ->
          throw new IllegalArgumentException(PROPERTY + " is on or off, not \"" + value + "\"");
    };
  }

  /**
   * Whether it is allowed.
   *
   * @throws IllegalArgumentException if the system property is neither on nor off
   */
  public static boolean allowed() {
    Boolean known = allowed;
    if (known == null) {
      String value = System.getProperty(PROPERTY);
      known = read(value == null ? "on" : value);
      asked |= value != null && known;
      allowed = known;
    }
    return known;
  }

  /** Allows it or not, from the next launch on. */
  public static void allow(boolean value) {
    allowed = value;
    asked |= value;
  }

  /** Whether a device has it and it is allowed; says so once for each device, or why not. */
  static boolean isOn(Gpu gpu) {
    if (!allowed()) {
      return false;
    }
    boolean able = gpu.capability() == CAPABILITY && Gpu.driverVersion() >= LEAST_DRIVER;
    Boolean before = SAID.get(gpu);
    if (before == null || before != able) {
      before = SAID.put(gpu, able);
      if (before == null || before != able) { // no other thread was first
        say(gpu, able);
      }
    }
    return able;
  }

  /** To be read by everybody if someone asked for what cannot be had. */
  private static void say(Gpu gpu, boolean able) {
    LOG.log(
        asked && !able ? Level.INFO : Level.DEBUG,
        able
            ? gpu.device() + ": attention and own products of 16-bit types use wgmma"
            : gpu.device()
                + ": wgmma is not used: it needs compute capability 9.0 and a driver for CUDA 12.1;"
                + " here are "
                + gpu.capability() / 10.0
                + " and "
                + Gpu.driverVersion() / 1000
                + "."
                + Gpu.driverVersion() % 1000 / 10);
  }
}

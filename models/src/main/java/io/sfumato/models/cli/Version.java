// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Properties;
import picocli.CommandLine.IVersionProvider;

/** The version that the build wrote beside this class. */
public final class Version implements IVersionProvider {
  private static final String FILE = "build.properties";

  /** For picocli. */
  public Version() {}

  /**
   * {@return the version of Sfumato; {@code "unknown"} for classes that were not built by Maven}
   *
   * @throws UncheckedIOException if the build's file cannot be read
   */
  public static String current() {
    try (InputStream in = Version.class.getResourceAsStream(FILE)) {
      Properties properties = new Properties();
      if (in != null) {
        properties.load(in);
      }
      return properties.getProperty("version", "unknown");
    } catch (IOException e) {
      throw new UncheckedIOException(FILE + ": cannot be read", e);
    }
  }

  @Override
  public String[] getVersion() {
    return new String[] {
      "Sfumato " + current(),
      "Java " + Runtime.version() + ", " + System.getProperty("java.vm.name", ""),
      System.getProperty("os.name", "")
          + " "
          + System.getProperty("os.version", "")
          + " "
          + System.getProperty("os.arch", "")
    };
  }
}

// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.exec.Op;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.Modifier;
import java.net.URISyntaxException;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/** The op classes of this package, found by looking at the compiled files. */
public final class OpClasses {
  private OpClasses() {}

  /** All classes of {@code io.sfumato.tensor.ops} that are ops. */
  public static List<Class<?>> all() {
    try {
      Path source = Path.of(Num.class.getProtectionDomain().getCodeSource().getLocation().toURI());
      String folder = Num.class.getPackageName().replace('.', '/');
      if (Files.isDirectory(source)) {
        return in(source.resolve(folder));
      }
      try (FileSystem jar = FileSystems.newFileSystem(source)) {
        return in(jar.getPath(folder));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (URISyntaxException | ClassNotFoundException e) {
      throw new IllegalStateException(e);
    }
  }

  private static List<Class<?>> in(Path folder) throws IOException, ClassNotFoundException {
    List<Class<?>> ops = new ArrayList<>();
    List<Path> files;
    try (Stream<Path> listing = Files.list(folder)) {
      files = listing.filter(f -> f.toString().endsWith(".class")).sorted().toList();
    }
    for (Path file : files) {
      String name = file.getFileName().toString().replace(".class", "");
      Class<?> type =
          Class.forName(
              Num.class.getPackageName() + "." + name, false, OpClasses.class.getClassLoader());
      if (Op.class.isAssignableFrom(type)
          && !type.isInterface()
          && !Modifier.isAbstract(type.getModifiers())) {
        ops.add(type);
      }
    }
    return ops;
  }
}

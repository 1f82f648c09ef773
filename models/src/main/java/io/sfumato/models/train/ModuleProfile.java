// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Trace;
import io.sfumato.tensor.io.AtomicFile;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;

/**
 * Where the time of some steps goes, by module: {@code profile.json}, the longest first. Time and
 * bytes of a module are those of its own ops, forward and backward, without the modules inside it;
 * bytes are those of all results. The first steps of a run are left out: they compile and allocate.
 */
public final class ModuleProfile {
  private static final int WARM_UP = 2;

  private final int steps;
  private final Map<String, long[]> sums = new TreeMap<>();
  private int done;

  /** A profile of some steps; of none if 0. */
  public ModuleProfile(int steps) {
    this.steps = steps;
  }

  /** Does a step, traced if it is one of those. */
  public <T> T step(Supplier<T> body) {
    done++;
    if (steps == 0 || done <= WARM_UP || done > WARM_UP + steps) {
      return body.get();
    }
    Trace trace = new Trace(Executor.current());
    T result = Executor.with(trace, body);
    for (Trace.Event e : trace.events()) {
      long[] sum = sums.computeIfAbsent(module(e.path()), name -> new long[3]);
      sum[0]++;
      sum[1] += e.nanos();
      sum[2] += e.outputs().stream().mapToLong(TensorSpec::bytes).sum();
    }
    return result;
  }

  /** The module of a path, which may name an op's backward as well. */
  private static String module(String path) {
    int backward = path.indexOf("(backward of ");
    return (backward < 0 ? path : path.substring(0, backward)).strip();
  }

  /** The lines of the file: module, calls (ops), seconds, bytes. Work outside of modules is "". */
  public List<Map<String, Object>> lines() {
    List<Map.Entry<String, long[]>> sorted = new ArrayList<>(sums.entrySet());
    sorted.sort(Comparator.comparingLong(e -> -e.getValue()[1]));
    List<Map<String, Object>> lines = new ArrayList<>();
    for (Map.Entry<String, long[]> e : sorted) {
      Map<String, Object> line = new LinkedHashMap<>();
      line.put("module", e.getKey());
      line.put("calls", e.getValue()[0]);
      line.put("seconds", e.getValue()[1] * 1e-9);
      line.put("bytes", e.getValue()[2]);
      lines.add(line);
    }
    return lines;
  }

  /** Writes the file if steps were traced. */
  void write(Path file) {
    if (!sums.isEmpty()) {
      try {
        byte[] text = new ObjectMapper().writeValueAsBytes(lines());
        AtomicFile.write(file, out -> AtomicFile.writeFully(out, ByteBuffer.wrap(text)));
      } catch (JsonProcessingException e) {
        throw new IllegalStateException(file + ": cannot be described", e);
      }
    }
  }
}

// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.exec.Recording;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The models of the suite on the emulated CUDA device, without the time to compute them: their
 * steps are recorded, which fails if a step waits for the device, uploads much or needs the CPU for
 * an op.
 */
final class SuiteOnCudaTest {
  private static final Device CUDA = new Device("cuda", 0);

  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void noStepNeedsTheHost(DType dtype) {
    Map<String, String> problems = new TreeMap<>();
    Map<String, Supplier<SuiteCase>> cases = SuiteCases.all(CUDA, dtype);
    cases.keySet().removeIf(name -> !name.matches("(train|infer)_.*|adamw.*"));
    cases.forEach(
        (name, make) -> {
          try (Scope scope = Scope.open();
              SuiteCase one = make.get();
              Recording recording =
                  Backends.of(CUDA)
                      .record(
                          () -> {
                            Scope.run(one.body());
                            return new Tensor[0];
                          })) {
            assertTrue(recording.toString() != null);
          } catch (IllegalStateException e) {
            problems.put(name, String.valueOf(e.getMessage()));
          }
        });
    assertTrue(problems.isEmpty(), problems.toString());
  }
}

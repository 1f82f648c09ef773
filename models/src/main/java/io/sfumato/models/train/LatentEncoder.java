// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.HexFormat;

/** An autoencoder as a {@link LatentCache} sees it: fixed, and with distributions for latents. */
public interface LatentEncoder {
  /**
   * The distributions of the latents of pictures; what comes of one does not depend on the others.
   *
   * @param images [B, C, H, W] in [-1, 1]
   * @return [B, 2 L, h, w]: means, then logarithms of variances
   */
  Tensor moments(Tensor images);

  /** A text that differs for encoders that differ. */
  String fingerprint();

  /**
   * {@return the SHA-256 of a model's configuration, and of the names, shapes and values of its
   * parameters}
   *
   * @param model the model
   * @param config its configuration, and all else that changes what it computes
   */
  static String fingerprint(Module model, String config) {
    MessageDigest digest = Manifest.sha256();
    digest.update(config.getBytes(StandardCharsets.UTF_8));
    for (Parameter parameter : model.parameters()) {
      Tensor value = parameter.value();
      digest.update(
          (parameter.name() + value.shape() + value.dtype() + value.device())
              .getBytes(StandardCharsets.UTF_8));
      Scope scope = Scope.open();
      try {
        float[] values = value.toFloatArray();
        ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(values.length, 4));
        bytes.asFloatBuffer().put(values);
        digest.update(bytes.array());
      } finally {
        scope.close();
      }
    }
    return HexFormat.of().formatHex(digest.digest());
  }
}

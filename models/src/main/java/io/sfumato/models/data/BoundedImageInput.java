// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.io.IOException;
import javax.imageio.stream.ImageInputStreamImpl;

/**
 * A file's bytes as input of an image decoder, with a limit on how often it may read past the end
 * and on how much it may read again. Decoders exist that, given a damaged file, read on at its end
 * for ever; here they get an exception that they cannot mistake for the end.
 */
final class BoundedImageInput extends ImageInputStreamImpl {
  private static final int MAX_READS_PAST_END = 4096;
  private static final long FREE_BYTES = 1 << 24;
  private static final long MAX_PASSES = 100;

  private final byte[] content;
  private long bytesLeft;
  private int pastEndLeft = MAX_READS_PAST_END;

  BoundedImageInput(byte[] content) {
    this.content = content;
    this.bytesLeft = FREE_BYTES + MAX_PASSES * content.length;
  }

  @Override
  public int read() throws IOException {
    checkClosed();
    bitOffset = 0;
    if (streamPos >= content.length) {
      return pastEnd();
    }
    spend(1);
    return content[(int) streamPos++] & 0xFF;
  }

  @Override
  public int read(byte[] target, int offset, int length) throws IOException {
    checkClosed();
    bitOffset = 0;
    if (length == 0) {
      return 0;
    }
    if (streamPos >= content.length) {
      return pastEnd();
    }
    int count = (int) Math.min(length, content.length - streamPos);
    spend(count);
    System.arraycopy(content, (int) streamPos, target, offset, count);
    streamPos += count;
    return count;
  }

  @Override
  public long length() {
    return content.length;
  }

  private int pastEnd() throws IOException {
    if (pastEndLeft-- <= 0) {
      throw new IOException("the decoder keeps reading past the end of the file");
    }
    return -1;
  }

  private void spend(int bytes) throws IOException {
    bytesLeft -= bytes;
    if (bytesLeft < 0) {
      throw new IOException("the decoder reads the same bytes again and again");
    }
  }
}

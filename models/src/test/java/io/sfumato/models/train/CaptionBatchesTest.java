// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.FramedPictures;
import io.sfumato.models.data.Pictures.Size;
import io.sfumato.models.data.batch.CaptionOptions;
import io.sfumato.models.data.batch.TestPictures;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;

class CaptionBatchesTest {
  @Test
  void labelsStandForCaptionsAsTheyAreShown() {
    FramedPictures data =
        FramedPictures.of(new TestPictures(Collections.nCopies(6, new Size(4, 4))), 4, 4);
    LoaderOptions options = LoaderOptions.of(3).captions(new CaptionOptions(true, 0, 0.3, 0));
    CaptionTable table = new CaptionTable();
    int empty = 0;
    int turned = 0;
    try (Scope scope = Scope.open();
        BatchLoader loader = new BatchLoader(data, options, Rng.seed(1), Device.CPU);
        CaptionBatches captions = new CaptionBatches(loader, List.of("even", "odd"), table)) {
      for (int b = 0; b < 40; b++) {
        Batches.Batch batch = captions.batch(b);
        assertEquals(loader.batch(b).shown(), batch.shown());
        long[] labels = batch.labels().toLongArray();
        for (int i = 0; i < 3; i++) {
          String text = table.text(labels[i]);
          assertEquals(batch.shown().get(i).caption().orElseThrow(), text);
          empty += text.isEmpty() ? 1 : 0;
          turned += text.equals("number " + batch.shown().get(i).index() + ", picture") ? 1 : 0;
        }
      }
    }
    assertEquals(36, empty, 15);
    assertEquals(42, turned, 18);
  }

  @Test
  void theTableForgetsWhatIsOld() {
    CaptionTable table = new CaptionTable();
    assertEquals(CaptionTable.NONE, table.numberOf(""));
    assertEquals("", table.text(0));
    int first = table.numberOf("first");
    assertEquals("first", table.text(first));
    for (int i = 0; i < 65_535; i++) {
      assertTrue(table.numberOf("text " + i) > 0);
    }
    assertEquals("text 65534", table.text(first));
    assertThrows(IllegalArgumentException.class, () -> table.text(-1));
    assertThrows(IllegalArgumentException.class, () -> new CaptionTable().text(5));
  }
}

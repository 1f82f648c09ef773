// SPDX-License-Identifier: Apache-2.0
/**
 * From pictures to the bytes of a batch: a {@link io.sfumato.models.data.batch.BatchPlan} says
 * which pictures make up batch number i ({@link io.sfumato.models.data.batch.SampleOrder}, or
 * {@link io.sfumato.models.data.batch.BucketPlan} with {@link io.sfumato.models.data.batch.Buckets}
 * of proportions), a {@link io.sfumato.models.data.batch.SampleReader} reads and varies one
 * picture, and a {@link io.sfumato.models.data.batch.Prefetcher} does so ahead of the step.
 * Everything is a function of the data, the options, the seed and the number of the batch.
 */
@NullMarked
package io.sfumato.models.data.batch;

import org.jspecify.annotations.NullMarked;

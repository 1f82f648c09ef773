// SPDX-License-Identifier: Apache-2.0

/**
 * Training by several processes, the ranks, on one machine or many. {@link
 * io.sfumato.models.distributed.Collectives} is what they say to each other.
 */
@NullMarked
package io.sfumato.models.distributed;

import org.jspecify.annotations.NullMarked;

"""Every path through every workflow, and the test that acts it out, for `make histories` to record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.workflows import test_budgets as budgets
from tests.workflows import test_clouds as clouds
from tests.workflows import test_dead_letters as letters
from tests.workflows import test_generation as generation
from tests.workflows import test_upkeep as upkeep
from tests.workflows import test_webhooks as webhooks

Act = Callable[..., Awaitable[None]]

#: By type of workflow, and by a name that says which way it goes.
PATHS: dict[str, dict[str, Act]] = {
    "GenerationWorkflow": {
        "success": generation.test_one_step_succeeds_in_few_events,
        "chain": generation.test_a_chain_hands_the_image_on,
        "retry": generation.test_a_failure_that_may_pass_is_tried_again,
        "failure": generation.test_a_failure_that_cannot_pass_ends_the_chain,
        "failure-at-a-cloud": letters.test_a_provider_s_verdict_is_no_dead_letter,
        "chain-of-clouds": clouds.test_a_cloud_s_picture_is_set_in_motion_at_another,
        "fallback": clouds.test_an_outage_goes_to_the_fallback_and_keeps_what_was_made,
        "fallback-after-the-time-to-start": budgets.test_a_fallback_takes_what_does_not_start_in_time,
        "called-back": clouds.test_a_callback_wakes_the_workflow,
        "cancel-before-it-is-sent": budgets.test_what_was_never_sent_bills_nothing,
        "cancel-while-it-is-sent": clouds.test_a_call_that_is_being_sent_is_cancelled_once_it_is_known,
        "cancel-at-a-cloud": clouds.test_a_cancelled_generation_is_cancelled_at_the_cloud,
        "cancel-in-the-engine": generation.test_cancel_reaches_the_engine_and_keeps_what_was_made,
        "cancel-a-dead-letter": clouds.test_a_dead_letter_can_be_cancelled,
        "deadline-before-the-start": generation.test_a_deadline_that_passed_before_the_start_runs_nothing,
        "deadline-in-the-engine": generation.test_the_deadline_ends_it,
        "deadline-at-a-cloud": budgets.test_the_callers_deadline_is_told_from_the_budgets,
        "time-to-start-in-the-engine": budgets.test_no_worker_takes_it_within_its_time_to_start,
        "time-to-start-at-a-cloud": budgets.test_its_turn_at_the_cloud_does_not_come_within_its_time_to_start,
        "time-to-run-in-the-engine": budgets.test_the_engine_is_stopped_when_its_time_to_run_is_over,
        "time-to-run-at-a-cloud": budgets.test_a_job_that_is_not_done_within_its_time_to_run_is_cancelled,
        "lost-answer-found": clouds.test_a_call_whose_answer_was_lost_is_found_in_the_cloud_s_list,
        "lost-answer-sent-again": (
            letters.test_what_was_sent_with_an_unknown_outcome_is_sent_again_only_when_a_person_says_so
        ),
        "lost-answer-out-of-time": budgets.test_a_lost_call_whose_time_is_up_lets_nobody_go_ahead_beside_it,
        "dead-letter-retried": letters.test_a_retry_goes_on_from_the_step_that_failed,
        "dead-letter-retried-twice": (
            letters.test_it_is_kept_again_when_the_retry_fails_too_and_an_old_decision_is_none
        ),
        "dead-letter-to-another-model": letters.test_another_model_takes_the_step_with_its_own_input,
        "dead-letter-discarded": letters.test_discarding_ends_it_as_failed_at_once_and_the_run_too,
        "dead-letter-expired": letters.test_it_fails_when_nobody_comes_in_time,
        "dead-letter-decided-at-the-last-moment": letters.test_a_decision_at_the_last_moment_counts,
        "dead-letter-started-again": letters.test_a_run_that_is_gone_is_started_again_by_the_retry,
        "dead-letter-goes-on-waiting": letters.test_a_dead_letter_whose_run_is_gone_waits_on_in_a_new_one,
        "dead-letter-decided-in-temporal": letters.test_an_operator_may_decide_in_temporal_itself,
    },
    "DeliveryWorkflow": {
        "success": webhooks.test_events_arrive_signed_each_with_an_id_of_its_own,
        "retry": webhooks.test_every_try_has_the_same_id_and_bytes_and_a_time_of_its_own,
        "gone": webhooks.test_a_receiver_that_is_gone_ends_all_that_was_on_its_way,
        "given-up": webhooks.test_an_event_that_alone_is_refused_does_not_disable_the_endpoint,
        "sent-again": webhooks.test_an_event_is_sent_again_when_a_person_asks,
        "sent-again-while-it-waits": webhooks.test_a_person_who_asks_need_not_wait_for_the_next_try,
        "ping": webhooks.test_a_ping_is_tried_once,
    },
    "UpkeepWorkflow": {
        "success": upkeep.test_every_duty_reports,
        "failure": upkeep.test_a_duty_that_cannot_be_done_keeps_no_other_one_from_it_and_is_said,
    },
}

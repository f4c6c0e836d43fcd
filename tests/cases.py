"""Which tests hold which case of the course's list of faults that stop learners (numbers as in learner_cases.md).

test_cases.py checks that every number in HELD has a test, and that pytest finds each test named here. The cases of
later notebooks are added with them: to CASES, and to HELD when nothing of the case is missing.
"""

# The cases that the course must hold by now.
HELD = set(range(1, 65))

CASES = {
    1: [  # a C compiler demanded for LZMA
        "test_project_files.py::test_nothing_asks_for_pylzma",
        "test_project_files.py::test_every_import_of_another_package_is_declared",
        "test_project_files.py::test_every_declared_package_is_imported_or_has_a_reason",
    ],
    2: [  # an index that hides PyPI
        "test_project_files.py::test_no_file_names_a_package_index",
        "test_source_rules.py::test_the_readme_points_to_pytorchs_page_for_other_builds",
    ],
    3: [  # pins that rot
        "test_project_files.py::test_pip_finds_no_broken_requirement",
        "test_project_files.py::test_every_requirement_has_a_lower_bound_and_nothing_else",
        "test_project_files.py::test_every_requirement_has_a_tested_version_that_its_bound_admits",
        "test_project_files.py::test_the_installed_version_is_the_tested_one",
    ],
    4: [  # NumPy missing or of the wrong ABI
        "test_project_files.py::test_every_declared_package_imports_when_warnings_are_errors",
        "test_learner_cases.py::test_the_imports_of_all_notebooks_work_when_warnings_are_errors",
    ],
    5: [  # the kernel of another environment
        "test_learner_cases.py::test_a_kernel_without_the_packages_says_which_python_it_is_and_how_to_mend_it",
        "test_source_rules.py::test_every_notebook_asks_for_the_python3_kernel_and_starts_with_the_same_guard",
    ],
    6: [  # a private kernelspec
        "test_committed_notebooks.py::test_it_is_a_valid_notebook_for_the_python3_kernel",
        "test_source_rules.py::test_every_notebook_asks_for_the_python3_kernel_and_starts_with_the_same_guard",
    ],
    7: ["test_notebooks_run.py::test_the_notebook_runs_to_its_end"],  # a file of an earlier step
    8: [  # no network at download
        "test_download.py::test_without_a_network_there_is_one_message_and_exit_code_1",
        "test_download.py::test_the_message_for_a_bad_certificate_says_so_and_no_second_try_is_made",
        "test_download.py::test_certificates_are_verified_and_nothing_in_the_source_switches_that_off",
        "test_download.py::test_a_proxy_is_used_and_named_without_its_password",
        "test_download.py::test_a_failed_first_download_leaves_no_file_at_all",
        "test_download.py::test_a_download_that_fails_leaves_the_old_book_untouched_and_nothing_else",
        "test_offline.py::test_a_book_that_is_not_there_cannot_be_fetched_from_behind_the_wall",
    ],
    9: [  # the locale's encoding
        "test_source_rules.py::test_every_text_is_read_and_written_with_a_named_encoding",
        "test_download.py::test_the_command_works_from_any_folder_and_on_any_locale",
        "test_books.py::test_load_text_needs_no_package",
        "test_learner_cases.py::test_the_training_and_writing_commands_work_on_any_locale",
        "test_learner_cases.py::test_the_reset_command_works_on_any_locale",
    ],
    10: [  # a byte-order mark as a token
        "test_books.py::test_the_right_values_of_the_real_books",
        "test_books.py::test_a_kept_byte_order_mark_would_be_an_81st_character",
        "test_books.py::test_the_book_in_data_comes_before_the_tales_and_is_normalised",
        "test_learner_cases.py::test_windows_line_ends_and_a_byte_order_mark_change_no_id",
    ],
    11: [  # CRLF, in a text and in a token file
        "test_books.py::test_a_byte_order_mark_and_every_kind_of_line_end_are_normalised",
        "test_learner_cases.py::test_windows_line_ends_and_a_byte_order_mark_change_no_id",
        "test_openwebtext.py::test_a_document_gives_the_ids_of_the_text_path",
        "test_archives.py::test_no_character_and_no_line_end_is_cut_at_any_offset",
    ],
    12: [  # an unknown character
        "test_tokenizer.py::test_an_unknown_character_is_named_with_its_position",
        "test_tokenizer.py::test_replacing_puts_a_stand_in_and_says_so_once",
        "test_gpt_and_training.py::test_complete_takes_an_empty_prompt_and_names_an_unknown_character",
        "test_chat.py::test_unknown_characters_are_replaced_with_a_notice",
    ],
    13: [  # ids of another vocabulary
        "test_tokenizer.py::test_ids_of_another_vocabulary_are_refused",
        "test_gpt_and_training.py::test_a_checkpoint_brings_model_and_vocabulary_back",
        "test_learner_cases.py::test_a_model_is_not_saved_with_another_models_vocabulary",
    ],
    14: [  # the round trip
        "test_tokenizer.py::test_any_unicode_text_round_trips",
        "test_tokenizer.py::test_lone_surrogates_round_trip",
        "test_bpe.py::test_any_unicode_text_round_trips",
        "test_bpe.py::test_a_text_round_trips_with_its_own_merges",
    ],
    15: [  # BPE on empty or one-character text
        "test_bpe.py::test_an_empty_text_and_one_of_one_character_give_the_bytes",
        "test_bpe.py::test_nothing_is_encoded_and_decoded_as_nothing",
    ],
    16: [  # a text shorter than the context
        "test_batches.py::test_a_text_shorter_than_a_window_is_refused_with_both_lengths",
        "test_batches.py::test_a_text_of_exactly_one_window_works",
        "test_gpt_and_training.py::test_a_text_shorter_than_the_context_is_refused_before_training",
        "test_learner_cases.py::test_the_training_command_refuses_a_short_text_with_a_sentence",
    ],
    17: [  # the false off-by-one fix
        "test_batches.py::test_every_start_is_drawn_and_every_window_is_full",
        "test_batches.py::test_targets_are_the_inputs_one_step_later",
    ],
    18: [  # a validation part that is too small
        "test_batches.py::test_a_part_that_would_be_too_small_is_refused",
        "test_gpt_and_training.py::test_a_text_shorter_than_the_context_is_refused_before_training",
    ],
    19: [  # a batch of one
        "test_batches.py::test_a_batch_of_one_works",
        "test_learner_cases.py::test_training_and_evaluating_work_with_a_batch_of_one",
    ],
    20: [
        "test_token_files.py::test_the_resident_set_stays_flat_over_2000_batches_of_a_file_of_500_mb"
    ],  # a leak
    21: [  # characters cut at a chunk's edge
        "test_archives.py::test_no_character_and_no_line_end_is_cut_at_any_offset",
        "test_archives.py::test_the_offsets_hold_behind_the_first_block_too",
        "test_token_files.py::test_every_window_is_one_of_whole_characters",
    ],
    22: [
        "test_token_files.py::test_empty_short_foreign_and_damaged_files_are_refused_by_name"
    ],  # 0 and 3 bytes
    23: [  # links that move
        "test_openwebtext.py::test_the_sample_has_the_layout_of_the_real_corpus",
        "test_notebooks_run.py::test_the_notebook_runs_to_its_end",
    ],
    24: [  # a tar read as text
        "test_archives.py::test_every_nesting_gives_the_same_texts_whatever_the_name",
        "test_archives.py::test_a_tar_in_an_xz_is_not_read_as_text",
        "test_openwebtext.py::test_every_nesting_gives_the_same_token_files",
        "test_openwebtext_notebook.py::test_a_tar_read_as_text_brings_nul_into_the_vocabulary",
    ],
    25: [  # the vocabulary of another corpus
        "test_reference_losses.py::test_a_fresh_gpt_starts_at_the_logarithm_of_the_vocabulary_on_the_book",
        "test_openwebtext.py::test_the_facts_stand_beside_the_ids",
    ],
    26: [  # truncated archives
        "test_archives.py::test_of_an_archive_that_is_cut_off_the_whole_documents_before_the_break_are_kept",
        "test_archives.py::test_a_text_that_is_cut_off_is_left_out",
        "test_openwebtext.py::test_some_unreadable_files_give_exit_code_3_and_all_their_names",
        "test_token_files.py::test_a_writing_that_breaks_off_leaves_the_old_pair",
    ],
    27: [  # hours and gigabytes
        "test_openwebtext.py::test_an_archive_that_compresses_to_little_stays_under_300_mib",
        "test_openwebtext.py::test_an_extraction_killed_at_any_moment_goes_on_without_loss_or_repetition",
    ],
    28: [  # process pools without a guard
        "test_openwebtext.py::test_two_processes_give_the_same_bytes",
        "test_scripts_notebook.py::test_without_the_guard_a_spawned_worker_ends_before_it_works",
    ],
    29: [  # leakage between the splits
        "test_openwebtext.py::test_each_marker_stands_in_one_split_alone_whatever_the_order",
        "test_openwebtext.py::test_equal_documents_stand_on_the_same_side",
    ],
    30: [  # CUDA assumed
        "test_source_rules.py::test_no_code_assumes_cuda",
        "test_source_rules.py::test_calls_that_need_cuda_stand_where_it_was_asked_for",
        "test_source_rules.py::test_every_checkpoint_is_read_onto_a_known_device_and_without_running_code",
    ],
    31: ["test_device.py::test_cuda_comes_before_mps_and_mps_before_the_cpu"],  # no final else: cpu
    32: [  # mixed devices
        "test_device.py::test_no_helper_uses_a_global_device_or_float64_on_a_device",
        "test_source_rules.py::test_tensors_are_made_on_the_device_of_their_input",
        "test_learner_cases.py::test_a_model_on_another_device_makes_nothing_on_the_cpu",
    ],
    33: [  # MPS silently wrong
        "test_device.py::test_an_mps_that_computes_something_else_is_left_with_a_warning",
        "test_device.py::test_a_device_that_gives_nan_or_other_values_or_fails_is_seen",
        "test_device.py::test_the_comparison_covers_a_training_step",
    ],
    34: [  # float64 on MPS
        "test_learner_cases.py::test_training_makes_no_float64_on_the_device",
        "test_learner_cases.py::test_the_validation_loss_makes_no_float64_on_the_device",
        "test_learner_cases.py::test_generating_and_comparing_devices_make_no_float64_on_the_device",
        "test_learner_cases.py::test_a_float64_on_the_device_would_be_noticed",
    ],
    35: [  # timing without warm-up and waiting, of unequal operations
        "test_timing.py::test_the_device_is_waited_for_before_the_clock_starts_and_before_it_stops",
        "test_timing.py::test_the_first_call_is_a_warm_up_and_not_counted",
        "test_timing.py::test_a_measurement_keeps_the_median_and_the_spread_and_not_the_mean",
        "test_timing.py::test_on_an_accelerator_each_look_at_the_clock_comes_after_a_wait",
        "test_timing.py::test_the_way_to_the_device_and_back_is_measured_apart",
        "test_timing.py::test_tensors_in_the_place_of_arrays_are_refused",
        "test_timing.py::test_np_dot_is_not_matmul_and_refused_with_both_shapes",
        "test_timing.py::test_unequal_results_are_refused_with_the_largest_difference",
    ],
    36: [  # torch.compile where no compiler is
        "test_gpt_and_training.py::test_a_missing_compiler_is_a_note_not_an_error",
        "test_learner_cases.py::test_compiling_is_off_unless_it_is_asked_for",
        "test_learner_cases.py::test_a_compiler_that_fails_at_the_first_call_leaves_training_as_it_would_have_been",
    ],
    37: [  # scores scaled by the embedding size
        "test_attention_cases.py::test_a_head_equals_pytorchs_attention_with_another_head_size_than_the_embedding",
        "test_attention_cases.py::test_batched_heads_equal_the_heads_one_after_the_other",
        "test_attention_cases.py::test_a_scale_by_the_embedding_size_would_be_noticed",
    ],
    38: [  # a softmax over the wrong dimension
        "test_attention_cases.py::test_the_weights_of_each_position_are_shares_of_one",
        "test_attention_cases.py::test_values_that_are_all_one_come_out_as_one",
        "test_attention_cases.py::test_a_softmax_over_another_dimension_would_be_noticed",
    ],
    39: [  # mask faults
        "test_gpt_and_training.py::test_changing_a_future_token_leaves_earlier_logits_unchanged",
        "test_attention_cases.py::test_each_position_hears_itself_and_all_before_it_and_nothing_after_it",
        "test_attention_cases.py::test_changing_any_token_changes_the_logits_from_there_on_and_none_before",
        "test_attention_cases.py::test_a_mask_that_lets_too_much_or_too_little_through_would_be_noticed",
    ],
    40: [  # a prompt longer than the context
        "test_gpt_and_training.py::test_a_sequence_longer_than_the_context_names_both_lengths",
        "test_gpt_and_training.py::test_generation_crops_restores_the_mode_and_repeats_with_its_seed",
    ],
    41: [  # pre-norm and post-norm mixed up
        "test_attention_cases.py::test_a_block_normalizes_what_its_parts_read_and_not_what_passes_by",
        "test_attention_cases.py::test_blocks_whose_parts_add_nothing_pass_everything_on_to_one_last_norm",
        "test_attention_cases.py::test_the_page_of_the_model_says_which_norm_it_has_and_whose",
        "test_gpt2.py::test_our_model_with_gpt2s_weights_gives_gpt2s_logits",
    ],
    42: [  # stored outputs of another state
        "test_committed_notebooks.py::test_its_outputs_are_those_of_the_cells_it_shows",
        "test_reference_losses.py::test_the_counted_bigram_has_its_known_losses_on_the_book",
        "test_learner_cases.py::test_a_fresh_bigram_starts_at_4_9_and_not_at_2_9",
    ],
    43: [  # dropout while sampling
        "test_gpt_and_training.py::test_generation_crops_restores_the_mode_and_repeats_with_its_seed",
        "test_learner_cases.py::test_generating_and_evaluating_run_in_eval_mode_without_gradients_and_restore_the_mode",
    ],
    44: [
        "test_gpt_and_training.py::test_a_loss_that_is_not_finite_stops_with_advice_and_good_weights"
    ],  # NaN
    45: [  # accumulated gradients; the rate of step 0
        "test_gpt_and_training.py::test_four_accumulated_batches_of_two_give_the_gradient_of_eight",
        "test_gpt_and_training.py::test_the_learning_rate_is_never_zero_and_follows_its_schedule",
        "test_learner_cases.py::test_training_with_four_batches_of_two_is_training_with_one_of_eight",
        "test_learner_cases.py::test_the_first_step_changes_the_weights",
    ],
    46: [  # temperature 0, a large k
        "test_gpt_and_training.py::test_sampling_settings_do_what_they_say",
        "test_learner_cases.py::test_temperature_0_writes_the_likeliest_and_a_k_above_the_vocabulary_means_all",
    ],
    47: [  # overfitting
        "test_gpt_and_training.py::test_the_best_weights_are_kept_when_the_model_overfits",
        "test_learner_cases.py::test_the_training_command_keeps_the_best_weights_of_a_run_that_overfits",
    ],
    48: [  # a pickled class of __main__
        "test_saving_notebook.py::test_a_class_of_the_notebook_is_not_found_elsewhere_and_a_strangers_file_is_refused",
        "test_saving_notebook.py::test_the_checkpoint_by_hand_gives_equal_logits_here_and_in_another_process",
    ],
    49: [  # weights_only refusals
        "test_saving_notebook.py::test_a_class_of_the_notebook_is_not_found_elsewhere_and_a_strangers_file_is_refused",
        "test_source_rules.py::test_every_checkpoint_is_read_onto_a_known_device_and_without_running_code",
    ],
    50: [  # a resume that is none
        "test_gpt_and_training.py::test_twenty_steps_equal_ten_and_ten",
        "test_exact_resume.py::test_twenty_trainings_that_were_killed_end_as_the_one_that_was_not",
        "test_exact_resume.py::test_the_state_is_kept_before_the_evaluation_and_a_resume_makes_up_for_it",
        "test_exact_resume.py::test_a_disk_that_fills_up_leaves_the_old_state_whole_and_the_run_can_go_on",
    ],
    51: [  # argparse in Jupyter
        "test_learner_cases.py::test_commands_can_be_called_in_a_notebook",
        "test_source_rules.py::test_every_command_takes_its_arguments_from_its_caller",
        "test_source_rules.py::test_a_notebook_that_calls_a_command_gives_it_arguments",
    ],
    52: [  # type=bool, sizes that are strings
        "test_gpt_and_training.py::test_numbers_out_of_range_are_refused_by_the_commands",
        "test_learner_cases.py::test_no_number_option_takes_what_cannot_work",
        "test_source_rules.py::test_no_option_is_a_bool_or_a_number_of_any_size",
    ],
    53: [  # a script that its author never ran
        "test_learner_cases.py::test_every_script_is_run_by_a_test",
        "test_learner_cases.py::test_the_training_and_writing_commands_work_on_any_locale",
        "test_gpt_and_training.py::test_train_and_generate_run_as_commands",
    ],
    54: [  # an empty prompt in the chat loop
        "test_chat.py::test_empty_lines_are_asked_again_and_the_end_of_input_ends_with_0",
        "test_chat.py::test_the_chat_in_a_terminal",
    ],
    55: [  # out-of-order state
        "test_committed_notebooks.py::test_its_outputs_are_those_of_the_cells_it_shows",
        "test_gpt_and_training.py::test_training_again_says_that_it_continues",
    ],
    56: [  # an uncaught error stops Run All
        "test_notebooks_run.py::test_the_notebook_runs_to_its_end",
        "test_runner.py::test_a_failed_run_keeps_what_was_shown_and_forgets_stored_outputs",
        "test_committed_notebooks.py::test_it_stores_no_error_no_warning_and_no_widget",
    ],
    57: [
        "test_figures_and_widgets.py::test_no_notebook_starts_workers_of_a_data_loader"
    ],  # DataLoader workers
    58: [  # bars with and without ipywidgets
        "test_figures_and_widgets.py::test_bars_work_with_and_without_ipywidgets",
        "test_figures_and_widgets.py::test_without_ipywidgets_the_still_and_the_text_are_there",
        "test_figures.py::test_figures_and_curves_are_stored_with_the_notebook_ipywidgets_or_not",
    ],
    59: [  # "Error displaying widget"
        "test_figures_and_widgets.py::test_a_changed_variable_is_seen_by_the_next_move_and_a_saved_notebook_shows_the_still",
        "test_browser.py::test_run_all_runs_every_cell_without_an_error_and_asks_no_other_machine",
        "test_browser.py::test_nothing_runs_over_the_edge_of_a_narrow_window",
    ],
    60: [  # metadata.widgets without a state
        "test_committed_notebooks.py::test_it_is_a_valid_notebook_for_the_python3_kernel",
        "test_committed_notebooks.py::test_it_stores_no_error_no_warning_and_no_widget",
        "test_figures_and_widgets.py::test_a_changed_variable_is_seen_by_the_next_move_and_a_saved_notebook_shows_the_still",
    ],
    61: [  # a flood of output
        "test_saving.py::test_what_must_not_be_stored_is_refused",
        "test_runner.py::test_a_flood_of_output_is_cut_off_and_named",
        "test_source_rules.py::test_no_stored_cell_prints_a_flood",
    ],
    62: [  # evaluation on every step
        "test_learner_cases.py::test_evaluation_takes_place_at_its_interval_only_and_says_how_long_is_left",
        "test_learner_cases.py::test_by_default_most_of_the_work_is_training",
        "test_source_rules.py::test_no_training_loop_of_a_notebook_evaluates_on_every_step",
    ],
    63: [  # bit-identical results across machines
        "test_learner_cases.py::test_the_same_command_gives_the_same_weights_in_another_process",
        "test_source_rules.py::test_nothing_promises_identical_results_across_machines",
        "test_source_rules.py::test_the_readme_promises_repeatable_runs_on_one_machine_only",
    ],
    64: [  # slow generation
        "test_cache.py::test_within_the_context_generation_with_the_cache_writes_the_same_tokens",
        "test_cache.py::test_past_the_context_exact_is_the_recomputing_loop",
    ],
}

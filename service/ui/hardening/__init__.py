"""All that holds Gradio back: it is made for demos among friends, and this page is open to strangers.

Private or patched names of Gradio that are used, each checked by `tests/service/ui/test_hardening.py`:

- `Blocks.has_launched`: a mounted page is never launched, and until then Gradio skips its check of file paths
  (mounting).
- `Blocks.state_session_capacity`: bounds the visitors whose results are kept (mounting).
- `Blocks.run_startup_events`, `Blocks.run_extra_startup_events`: Gradio runs them only when it is mounted before the
  parent starts (mounting).
- `Blocks._queue`, `Queue.push`, `Queue.compute_analytics_summary`, `Queue.clean_events`,
  `Queue.pending_messages_per_session`, `Queue.pending_event_ids_session`, `Queue.event_ids_to_events`: bound what is
  kept for visitors who do not fetch their answers (queue).
- `route_utils.GradioMultiPartParser`, its `_current_part` and `_files_to_close_on_error`: bounds the form of an upload,
  and closes files that break off (patches).
- `routes.file_upload_statuses`, `route_utils.FileUploadProgress._statuses`, `FileUploadProgress._signals`: bound the
  uploads that are tracked (patches).
- `queueing.traceback`, `route_utils.traceback`, `routes.traceback`: Gradio prints tracebacks with what visitors send
  (patches).
- `Block.async_move_resource_to_block_cache`: Gradio downloads a URL in place of an upload (patches).
"""

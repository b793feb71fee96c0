cargo lambda invoke image-push --data-file events/image-push/reported.json

;; SPDX-License-Identifier: MIT
;; For the Shepherd, 1.0 or newer, on a system that is not Guix (share/guix of the sources is for that): a part of its
;; configuration, /etc/shepherd.scm. `herd trigger px-status-flush` sends at once.
(use-modules (shepherd service)
             (shepherd service timer))

(register-services
 (list
  (service '(px-status-flush)
    #:documentation "Send Monit's alerts and status to Central Management."
    #:start (make-timer-constructor
             (cron-string->calendar-event "* * * * *")
             (command '("/usr/bin/px-status-flush") #:user "px-status")
             #:wait-for-termination? #t)
    #:stop (make-timer-destructor)
    #:actions (list timer-trigger-action))))

(start-in-the-background '(px-status-flush))

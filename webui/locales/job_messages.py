"""What is said of paths that the board may not use, and of runs that it has started."""

from __future__ import annotations

from .misfit import MISFITS
from .words import alert


MESSAGES = {
    **MISFITS,
    # --- what is under way already
    "dba_busy_anchor": alert(
        "An anchor is being computed in {folder} on the same device. Two runs share its memory and slow each other "
        "down; either may end for lack of memory. Wait for it, stop it in the tab Anchor, or tick “{label}”.",
        "На том же устройстве вычисляется якорь ({folder}). Два запуска делят память и замедляют друг друга; любому "
        "может не хватить памяти. Дождитесь конца, остановите его на вкладке «Якорь» или отметьте «{label}».",
        "同一设备上正在计算锚点（{folder}）。两个任务共享内存并互相拖慢，任何一个都可能因内存不足而结束。请等待、在“锚点”"
        "标签页中停止它，或勾选“{label}”。",
        "같은 장치에서 앵커를 계산하고 있습니다({folder}). 두 실행은 메모리를 나눠 쓰고 서로 느려지며, 메모리 부족으로 끝날 "
        "수 있습니다. 기다리거나 앵커 탭에서 중지하거나 “{label}”을(를) 선택하세요.",
        "同じデバイスでアンカーを計算中です（{folder}）。メモリを共有して互いに遅くなり、メモリ不足で終わることもあります。"
        "終了を待つか、アンカータブで停止するか、「{label}」を選んでください。",
    ),
    "dba_busy_train": alert(
        "A training is running in {folder} on the same device. Two runs share its memory and slow each other down; "
        "either may end for lack of memory. Wait for it, abort it, or tick “{label}”.",
        "На том же устройстве идёт обучение ({folder}). Два запуска делят память и замедляют друг друга; любому может "
        "не хватить памяти. Дождитесь конца, прервите его или отметьте «{label}».",
        "同一设备上正在训练（{folder}）。两个任务共享内存并互相拖慢，任何一个都可能因内存不足而结束。请等待、中止它，或勾选"
        "“{label}”。",
        "같은 장치에서 훈련이 실행 중입니다({folder}). 두 실행은 메모리를 나눠 쓰고 서로 느려지며, 메모리 부족으로 끝날 수 "
        "있습니다. 기다리거나 중단하거나 “{label}”을(를) 선택하세요.",
        "同じデバイスで学習が実行中です（{folder}）。メモリを共有して互いに遅くなり、メモリ不足で終わることもあります。終了を"
        "待つか、中断するか、「{label}」を選んでください。",
    ),
    # --- paths
    "dba_path_empty": alert(
        "No path is given.",
        "Путь не указан.",
        "未填写路径。",
        "경로를 입력하지 않았습니다.",
        "パスが入力されていません。",
    ),
    "dba_path_unreadable": alert(
        "This cannot be a path: {path}",
        "Это не может быть путём: {path}",
        "这不是有效的路径：{path}",
        "경로가 될 수 없습니다: {path}",
        "パスとして使えません：{path}",
    ),
    "dba_path_outside": alert(
        "{path} leads out of the folders that the board may use: {allowed}.",
        "{path} ведёт за пределы доступных доске папок: {allowed}.",
        "{path} 超出了面板允许使用的目录：{allowed}。",
        "{path}은(는) 보드가 사용할 수 있는 폴더를 벗어납니다: {allowed}.",
        "{path} はボードが使えるフォルダの外です：{allowed}。",
    ),
    "dba_path_missing": alert(
        "There is nothing at {path}.",
        "По пути {path} ничего нет.",
        "{path} 不存在。",
        "{path}에 아무것도 없습니다.",
        "{path} には何もありません。",
    ),
    "dba_path_root": alert(
        "{path} holds other things; name a new folder in it.",
        "В {path} лежит другое; укажите новую папку внутри.",
        "{path} 中有其他内容，请填写其中的一个新目录。",
        "{path}에는 다른 것이 있습니다. 그 안의 새 폴더를 지정하세요.",
        "{path} には他のものがあります。その中の新しいフォルダを指定してください。",
    ),
    "dba_path_hidden": alert(
        "{path}: names that begin with a dot or a dash are not written to.",
        "{path}: запись в имена, начинающиеся с точки или дефиса, не допускается.",
        "{path}：不允许写入以点或短横线开头的名称。",
        "{path}: 점이나 대시로 시작하는 이름에는 쓰지 않습니다.",
        "{path}：ドットやハイフンで始まる名前には書き込めません。",
    ),
    "dba_path_space": alert(
        "{path}: the name of a new folder must not hold white space.",
        "{path}: в имени новой папки не должно быть пробелов.",
        "{path}：新目录的名称不能包含空格。",
        "{path}: 새 폴더 이름에는 공백을 쓸 수 없습니다.",
        "{path}：新しいフォルダ名に空白は使えません。",
    ),
    # --- jobs
    "dba_job_running": alert("Running.", "Выполняется.", "运行中。", "실행 중입니다.", "実行中です。"),
    "dba_job_stopping": alert(
        "Stopping: the state is being saved. Stop once more ends it at once.",
        "Останавливается, состояние сохраняется. Повторное нажатие завершит сразу.",
        "正在停止并保存状态。再次点击停止将立即结束。",
        "중지하는 중이며 상태를 저장하고 있습니다. 한 번 더 누르면 즉시 종료합니다.",
        "停止中です。状態を保存しています。もう一度押すとすぐに終了します。",
    ),
    "dba_job_done": alert("Finished.", "Готово.", "已完成。", "완료되었습니다.", "完了しました。"),
    "dba_job_stopped": alert("Stopped.", "Остановлено.", "已停止。", "중지되었습니다.", "停止しました。"),
    "dba_job_failed": alert(
        "Failed, exit status {code}:",
        "Ошибка, код завершения {code}:",
        "失败，退出码 {code}：",
        "실패, 종료 코드 {code}:",
        "失敗しました。終了コード {code}：",
    ),
    "dba_job_killed": alert(
        "Killed from outside (status {code}), perhaps by the system for lack of memory. Its last lines:",
        "Процесс завершён извне (код {code}), возможно, системой из-за нехватки памяти. Последние строки:",
        "进程被外部终止（状态 {code}），可能是系统因内存不足所为。最后几行：",
        "외부에서 강제 종료되었습니다(상태 {code}). 메모리 부족 때문일 수 있습니다. 마지막 줄:",
        "外部から強制終了されました（状態 {code}）。メモリ不足の可能性があります。最後の行：",
    ),
    "dba_job_lost": alert(
        "The run is gone, and nothing has noted how it ended: killed from outside, or the machine was restarted.",
        "Процесс исчез без следа: завершён извне или машина была перезагружена.",
        "进程已消失且没有结束记录：被外部终止，或机器已重启。",
        "실행이 사라졌고 종료 기록이 없습니다. 외부에서 종료되었거나 컴퓨터가 재시작되었습니다.",
        "実行が消え、終了の記録がありません。外部から終了されたか、マシンが再起動されました。",
    ),
    "dba_job_disk_full": alert(
        "The disk is full. Free some space; what was saved before is kept.",
        "Диск заполнен. Освободите место; сохранённое ранее не потеряно.",
        "磁盘已满。请释放空间；此前保存的内容仍在。",
        "디스크가 가득 찼습니다. 공간을 확보하세요. 이전에 저장된 것은 남아 있습니다.",
        "ディスクがいっぱいです。空きを作ってください。以前に保存したものは残っています。",
    ),
    "dba_anchor_resumable": alert(
        "It can go on from step {step}.",
        "Можно продолжить с шага {step}.",
        "可以从第 {step} 步继续。",
        "{step} 스텝부터 이어서 할 수 있습니다.",
        "ステップ {step} から再開できます。",
    ),
    "dba_anchor_resumable_some": alert(
        "It can go on from what was saved.",
        "Можно продолжить с сохранённого места.",
        "可以从已保存的位置继续。",
        "저장된 지점부터 이어서 할 수 있습니다.",
        "保存された所から再開できます。",
    ),
    "dba_anchor_not_resumable": alert(
        "Nothing was saved yet: it starts anew.",
        "Ещё ничего не сохранено: запуск начнётся сначала.",
        "尚未保存任何状态，将重新开始。",
        "아직 저장된 것이 없어 처음부터 시작합니다.",
        "まだ何も保存されていないため、最初からになります。",
    ),
}
